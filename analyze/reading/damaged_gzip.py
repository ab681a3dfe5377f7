"""The bytes of a file that may be damaged gzip data, as far as they can be decompressed: to the byte, where isal's
reader gives up a block at a time.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import suppress
from io import RawIOBase
from pathlib import Path

_BLOCK_BYTES = 512 << 10
_CHUNK_BYTES = 4 << 10
"""Hold at most a thousand times as much."""
_GZIP = 16 + zlib.MAX_WBITS
_MAGIC = b"\x1f\x8b"


class Intact(RawIOBase):
    """A file's bytes, decompressed, as far as they go: damaged gzip data ends it, and ``broken`` says so."""

    def __init__(self, path: Path) -> None:
        self.broken: str | None = None
        self._file = path.open("rb", buffering=0)
        self._blocks = self._decompressed() if self._file.read(2) == _MAGIC else self._plain()
        self._file.seek(0)

    def read(self, size: int = -1) -> bytes:
        """The next bytes, however many are at hand; none at the end."""
        return next(filter(None, self._blocks), b"")

    def close(self) -> None:
        self._file.close()
        super().close()

    def _plain(self) -> Iterator[bytes]:
        while block := self._file.read(_BLOCK_BYTES):
            yield block

    def _decompressed(self) -> Iterator[bytes]:
        """Members one after another, zeros between and after them passed over, as gzip itself does."""
        data = self._file.read(_CHUNK_BYTES)
        while data:
            inflate = zlib.decompressobj(_GZIP)
            while data and not inflate.eof:
                yield self._inflated(inflate, data)
                if self.broken:
                    return
                data = inflate.unused_data or self._file.read(_CHUNK_BYTES)
            if not inflate.eof:
                self.broken = "gzip data cut off"
                return
            while data and not (data := data.lstrip(b"\0")):
                data = self._file.read(_CHUNK_BYTES)

    def _inflated(self, inflate: zlib._Decompress, data: bytes) -> bytes:
        """What the data holds; of damaged data what precedes the damage."""
        before = inflate.copy()
        try:
            return inflate.decompress(data)
        except zlib.error as e:
            self.broken = f"gzip data damaged ({str(e).rpartition(': ')[2]})"
        intact = []
        with suppress(zlib.error):
            for i in range(len(data)):
                intact.append(before.decompress(data[i : i + 1]))
        return b"".join(intact)


def intact_bytes(path: Path) -> int:
    """How many bytes can be had."""
    with Intact(path) as file:
        return sum(map(len, iter(file.read, b"")))
