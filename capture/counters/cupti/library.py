"""The CUPTI library: which one, and calls into it that raise what CUPTI says."""

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
    40: "the hypervisor keeps counters from this virtual machine",
    46: "this CUPTI does not know the chip",
}
"""What some of CUPTI's codes ask the user to do."""


class CuptiError(CaptureError):
    """A CUPTI call failed, in one line: the call, its code, CUPTI's text, and what it concerned.

    `code` is None where there was no call to make: no library, or one too old to have it.
    """

    def __init__(self, call: str, code: int | None, text: str, about: str = "") -> None:
        what = text if code is None else f"{code} {text}".rstrip()
        meaning = f"; {_MEANINGS[code]}" if code in _MEANINGS else ""
        super().__init__(f"{call}: {what}{meaning}{f' ({about})' if about else ''}")
        self.call, self.code, self.text = call, code, text


class Library:
    """A loaded libcupti."""

    def __init__(self, path: Path) -> None:
        """Load the library at `path`. Raises CuptiError when it cannot be loaded."""
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
        """Make a call and return its parameter block, whose fields now hold the answer.

        `about` is for the error's text. Raises CuptiError when CUPTI refuses, or does not have the call.
        """
        parameters = structures.block(call)(struct_size=structures.size(call), **fields)
        function = getattr(self._functions, call, None)
        if function is None:
            raise CuptiError(call, None, f"not in {self.path.name}; expected CUPTI of CUDA 12.6 or later")
        code = function(ctypes.byref(parameters))
        if code:
            raise CuptiError(call, code, self._text(code), about)
        return parameters

    def _text(self, code: int) -> str:
        """CUPTI's name of a code."""
        text = ctypes.c_char_p()
        self._functions.cuptiGetResultString(code, ctypes.byref(text))
        return (text.value or b"").decode()


def load() -> Library:
    """The CUPTI of this process. Raises CuptiError when there is none."""
    path = find()
    if path is None:
        raise CuptiError("libcupti", None, "not found in this process or beside torch; expected nvidia-cuda-cupti")
    return Library(path)


def find() -> Path | None:
    """The libcupti this process has mapped, since a second copy would not see the first's kernels; else torch's own."""
    # Triton's profiler may have mapped one of its own as well; Kineto's is torch's.
    mapped = min(_mapped(), key=lambda path: "triton" in path.parts, default=None)
    return mapped or next(_installed(), None)


def _mapped() -> Iterator[Path]:
    """The libraries mapped into this process."""
    lines = _MAPS.read_text().splitlines() if _MAPS.exists() else []
    for line in lines:
        path = Path(line.split(maxsplit=5)[-1])
        if _NAME.fullmatch(path.name):
            yield path


def _installed() -> Iterator[Path]:
    """The libraries in torch's own folder and in NVIDIA's packages, found without importing either."""
    torch, nvidia = find_spec("torch"), find_spec("nvidia")
    folders = [Path(torch.origin).parent / "lib"] if torch and torch.origin else []
    for root in (nvidia.submodule_search_locations or []) if nvidia else []:
        folders += sorted(Path(root).glob("*/lib"), reverse=True)  # cu13 is before cuda_cupti, of CUDA 12.
    for folder in folders:
        yield from sorted(path for path in folder.glob("libcupti.so*") if _NAME.fullmatch(path.name))
