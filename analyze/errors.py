"""The exceptions between a trace file and the warehouse."""

from __future__ import annotations

from ridgeline.errors import RidgelineError


class AnalyzeError(RidgelineError):
    """A trace or a companion cannot be used; the message says what was found, what was expected and what to do."""


class TraceError(AnalyzeError):
    """The file is not a readable Kineto trace."""


class Broken(TraceError):
    """The file is a trace up to ``offset``, in bytes as decompressed, where it is cut off or damaged.

    ``rest`` is the text after the last position that is certainly between two events, ``rest_offset`` that position.
    """

    def __init__(self, message: str, offset: int, rest: bytes = b"", rest_offset: int = 0) -> None:
        super().__init__(message)
        self.offset = offset
        self.rest = rest
        self.rest_offset = rest_offset

    def __reduce__(self) -> tuple[type[TraceError], tuple[str]]:
        return TraceError, (str(self),)  # another process needs only the message


class CompanionError(AnalyzeError):
    """A file beside a trace (run.json, ceilings.json, ...) is not in its documented form."""


def is_panic(error: BaseException) -> bool:
    """Return True if a library written in Rust, such as polars, panicked: that is no subclass of ``Exception``."""
    return type(error).__name__ == "PanicException"
