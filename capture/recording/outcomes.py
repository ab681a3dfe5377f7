"""The outcome of a program that raised an exception: out of memory, which is a result, or an error."""

import torch

from ridgeline.capture.errors import CaptureError

OUT_OF_MEMORY = ("can't allocate memory", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")
"""Parts of the messages by which a plain RuntimeError reports that memory ran out."""


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, or the name of its type."""
    return (str(error).splitlines() or [type(error).__name__])[0].strip()


def one_line(error: BaseException) -> str:
    """Return an exception in one line. Capture's own are sentences; others are prefixed with their type."""
    return str(error) if isinstance(error, CaptureError) else f"{type(error).__name__}: {first_line(error)}"


def outcome_of(error: BaseException) -> tuple[str, str]:
    """Return the outcome, `oom` or `error`, and the message of a program that raised `error`.

    If memory runs out while a graph is captured or a step is compiled, that fails as well and raises another exception.
    The message has both then, since the CUDA context may be broken.
    """
    cause: BaseException | None = error
    while cause is not None:
        # CUDA, its libraries and torch's allocator for host memory raise a plain RuntimeError.
        if isinstance(cause, torch.OutOfMemoryError | MemoryError) or (
            isinstance(cause, RuntimeError) and any(words in first_line(cause) for words in OUT_OF_MEMORY)
        ):
            return "oom", first_line(cause) if cause is error else f"{first_line(cause)} ({one_line(error)})"
        cause = cause.__cause__ or cause.__context__
    return "error", one_line(error)
