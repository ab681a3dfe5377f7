"""Finds and loads the CUPTI library, and makes calls into it that raise CUPTI's errors."""

import ctypes
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ridgeline.capture.counters.cupti import structures
from ridgeline.capture.errors import CaptureError

_NAME = re.compile(r"libcupti\.so(\.\d+)*")
_MAPS = Path("/proc/self/maps")

_MEANINGS = {
    26: "another profiler holds the device's counters",
    35: "counters are for administrators: run as root, or load the driver with NVreg_RestrictProfilingToAdminUsers=0",
    39: "another tool, such as Nsight Compute (ncu), is attached to this process",
    40: "the hypervisor keeps counters from this virtual machine",
    46: "this CUPTI does not know the chip",
}
"""What some of CUPTI's error codes mean and what to do about them."""


class CuptiError(CaptureError):
    """A CUPTI call failed. The message is one line: the call, its code, CUPTI's text, and the call's subject.

    `code` is None if no call was made, because there is no library or it is too old.
    """

    def __init__(self, call: str, code: int | None, text: str, about: str = "") -> None:
        result = text if code is None else f"{code} {text}".rstrip()
        meaning = f"; {_MEANINGS[code]}" if code in _MEANINGS else ""
        super().__init__(f"{call}: {result}{meaning}{f' ({about})' if about else ''}")
        self.call, self.code, self.text = call, code, text


class Library:
    """A loaded libcupti."""

    def __init__(self, path: Path) -> None:
        """Load the library at `path`. Raises CuptiError if that fails."""
        self.path = path
        try:
            self._functions: Any = ctypes.CDLL(str(path))
        except OSError as error:
            raise CuptiError("dlopen", None, str(error)) from error

    @property
    def version(self) -> int:
        """CUPTI's version, for example 130001."""
        version = ctypes.c_uint32()
        self._functions.cuptiGetVersion(ctypes.byref(version))
        return version.value

    def call(self, call: str, about: str = "", **fields: Any) -> Any:
        """Make a call with `fields` and return its parameter block, which now holds the results as well.

        `about` is the call's subject in an error message. Raises CuptiError if CUPTI returns an error code or does not
        have the call.
        """
        parameters = structures.block(call)(struct_size=structures.size(call), **fields)
        # An old CUPTI lacks the calls of the range profiler.
        function = getattr(self._functions, call, None)
        if function is None:
            raise CuptiError(call, None, f"not in {self.path.name}; expected CUPTI of CUDA 12.6 or later")
        code = function(ctypes.byref(parameters))
        if code:
            name = ctypes.c_char_p()
            self._functions.cuptiGetResultString(code, ctypes.byref(name))
            raise CuptiError(call, code, (name.value or b"").decode(), about)
        return parameters


def load() -> Library:
    """Load the CUPTI of this process. Raises CuptiError if there is none."""
    path = find()
    if path is None:
        raise CuptiError("libcupti", None, "not found in this process or beside torch; expected nvidia-cuda-cupti")
    return Library(path)


def find() -> Path | None:
    """Return the libcupti mapped into this process, else the one installed with torch, else None.

    A second copy of the library would not see the kernels of the first.
    """
    # The sixth field of a line of /proc/self/maps is the path of the mapped file, which may have spaces.
    lines = _MAPS.read_text().splitlines() if _MAPS.exists() else []
    mapped = [path for line in lines if _NAME.fullmatch((path := Path(line.split(maxsplit=5)[-1])).name)]
    # Triton's profiler may have mapped a copy of its own; Kineto uses torch's.
    return min(mapped, key=lambda path: "triton" in path.parts, default=None) or next(_installed(), None)


def _installed() -> Iterator[Path]:
    """Yield the libraries in torch's own folder and in NVIDIA's packages, without importing either."""
    torch, nvidia = find_spec("torch"), find_spec("nvidia")
    folders = [Path(torch.origin).parent / "lib"] if torch and torch.origin else []
    for root in (nvidia.submodule_search_locations or []) if nvidia else []:
        folders += sorted(Path(root).glob("*/lib"), reverse=True)  # cu13 before cuda_cupti, which is CUDA 12's
    for folder in folders:
        yield from sorted(path for path in folder.glob("libcupti.so*") if _NAME.fullmatch(path.name))
