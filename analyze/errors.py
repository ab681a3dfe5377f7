"""What can go wrong between a trace file and the warehouse."""

from __future__ import annotations

from ridgeline.errors import RidgelineError


class AnalyzeError(RidgelineError):
    """A trace or one of its companions cannot be used; the message says what was found and what to do."""


class TraceError(AnalyzeError):
    """The file is not a readable Kineto trace."""


class Broken(TraceError):
    """The file is a trace up to ``offset``, in bytes as decompressed, where it is cut off or damaged.

    ``rest`` is the text from the last place known to lie between two events on, ``rest_offset`` where that begins.
    """

    def __init__(self, message: str, offset: int, rest: bytes = b"", rest_offset: int = 0) -> None:
        super().__init__(message)
        self.offset = offset
        self.rest = rest
        self.rest_offset = rest_offset

    def __reduce__(self) -> tuple[type[TraceError], tuple[str]]:
        return TraceError, (str(self),)  # what another process needs of it


class CompanionError(AnalyzeError):
    """A file beside a trace (run.json, ceilings.json, ...) is not in its documented form."""


def is_panic(error: BaseException) -> bool:
    """Whether a library written in Rust, such as polars, gave up: its exception is none of Python's ``Exception``s."""
    return type(error).__name__ == "PanicException"
