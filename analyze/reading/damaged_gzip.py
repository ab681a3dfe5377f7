"""The bytes of a file that may be damaged gzip data, as far as it decompresses: to the byte, where isal's reader stops
at a block.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from io import RawIOBase
from pathlib import Path

_BLOCK_BYTES = 512 << 10
_CHUNK_BYTES = 4 << 10
"""A chunk decompresses to at most a thousand times its size, which bounds the memory."""
_GZIP = 16 + zlib.MAX_WBITS
_MAGIC = b"\x1f\x8b"


class Intact(RawIOBase):
    """A file's bytes, decompressed. Damaged gzip data ends the file, and ``broken`` says how."""

    def __init__(self, path: Path) -> None:
        self.broken: str | None = None
        self._file = path.open("rb", buffering=0)
        is_gzip = self._file.read(2) == _MAGIC
        self._file.seek(0)
        self._blocks = self._decompress() if is_gzip else iter(partial(self._file.read, _BLOCK_BYTES), b"")

    def read(self, size: int = -1) -> bytes:
        """Return the next block, whatever ``size`` is; nothing at the end."""
        return next(filter(None, self._blocks), b"")

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    def _decompress(self) -> Iterator[bytes]:
        """Yield the content of all gzip members; like gzip itself, skip zeros between and after them."""
        data = self._file.read(_CHUNK_BYTES)
        while data:
            inflate = zlib.decompressobj(_GZIP)
            while data and not inflate.eof:
                before = inflate.copy()
                try:
                    yield inflate.decompress(data)
                except zlib.error as e:
                    self.broken = f"gzip data damaged ({str(e).rpartition(': ')[2]})"
                    # zlib returns nothing of a damaged chunk: feed it byte by byte, up to the damage
                    intact = []
                    with suppress(zlib.error):
                        for i in range(len(data)):
                            intact.append(before.decompress(data[i : i + 1]))
                    yield b"".join(intact)
                    return
                data = inflate.unused_data or self._file.read(_CHUNK_BYTES)
            if not inflate.eof:
                self.broken = "gzip data cut off"
                return
            while data and not (data := data.lstrip(b"\0")):
                data = self._file.read(_CHUNK_BYTES)


def intact_bytes(path: Path) -> int:
    """Return how many bytes of the file can be decompressed."""
    with Intact(path) as file:
        return sum(map(len, iter(file.read, b"")))
