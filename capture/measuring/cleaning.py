"""Copy a Kineto trace with only the listed keys in its header. Imports no torch."""

import io
import json
import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

_FILE_KEYS = ("schemaVersion", "trace_id", "deviceProperties", "distributedInfo", "displayTimeUnit")
_TIME_KEYS = ("baseTimeNanoseconds",)
_OPTION_KEYS = ("record_shapes", "profile_memory", "with_stack", "with_flops", "with_modules")
_VERSION_KEYS = (
    "cuda_driver_version", "cuda_runtime_version", "cupti_version",
    "hip_driver_version", "hip_runtime_version", "roctracer_version",
)  # fmt: skip
HEADER_KEYS = frozenset(_FILE_KEYS + _TIME_KEYS + _OPTION_KEYS + _VERSION_KEYS)
"""The header keys that stay in a stored trace. Others may name the host, the user or environment variables."""
RANK_KEYS = ("backend", "rank", "world_size")
"""The keys that stay of the header's `distributedInfo`, which also describes every process group."""

KERNEL_FILE = re.compile(rb'"kernel_file":\s*"(?:[^"\\]|\\.)*/([^"/\\]*)"')
"""The path of a compiled kernel's source in a trace; the group is its file name."""
_MARKER = b'"traceEvents":'
_MOST_HEADER_BYTES = 64 << 20
_BLOCK_BYTES = 1 << 20
_TAIL_BYTES = 1 << 18
"""The end of a trace that is held back until the end of the file is known: it holds the keys after the events."""


class Source(Protocol):
    """A binary file to read."""

    def read(self, size: int, /) -> bytes: ...


class Target(Protocol):
    """A binary file to write."""

    def write(self, text: bytes, /) -> int: ...


class Unfinished(ValueError):
    """The text ends before the trace does: it is still being written, or was cut off."""


class Cleaned(NamedTuple):
    """The header keys that stayed, and which of the words looked for occur in the events."""

    header: dict[str, Any]
    words: frozenset[bytes]


def clean(trace: str, *, trace_name: str) -> str:
    """The text of a Kineto trace, cleaned as `copy` does. Raises ValueError where it is none."""
    target = io.BytesIO()
    copy(io.BytesIO(trace.encode()), target, trace_name=trace_name)
    return target.getvalue().decode()


def copy(source: Source, target: Target, *, trace_name: str, words: Iterable[bytes] = ()) -> Cleaned:
    """Write the Kineto trace `source` to `target` with only HEADER_KEYS beside its events.

    `trace_name` replaces the path after the events. The events keep every byte except the folder of compiled kernels,
    which contains the user's name. Memory does not grow with the trace. Returns what stayed of the header, and those
    of `words` that occur in the events.
    Raises Unfinished where the text ends too early, and ValueError where it is no Kineto trace with a header.
    """
    # Not parsed as JSON: a trace may be gigabytes, and only its ends are to change.
    head, pending = _split(source)
    header = _kept(json.loads(head.rstrip().removesuffix(b",") + b"}"))
    target.write(b"{\n" + b"".join(b"  %s,\n" % line for line in _lines(header)) + b"  " + _MARKER)
    looked_for = set(words)
    seen: set[bytes] = set()

    def write_events(text: bytes) -> None:
        seen.update(word for word in looked_for - seen if word in text)
        target.write(KERNEL_FILE.sub(rb'"kernel_file": "\1"', text))

    while block := source.read(_BLOCK_BYTES):
        pending += block
        # Between two events no word and no path is cut in two.
        cut = max(pending.rfind(b"}", 0, max(0, len(pending) - _TAIL_BYTES)), 0)
        write_events(pending[:cut])
        pending = pending[cut:]
    end, after = _end(pending)
    write_events(pending[:end])
    lines = _lines(_kept(after))
    if "traceName" in after:
        lines.append(b'"traceName": %s' % json.dumps(trace_name).encode())
    target.write(b"]" + b"".join(b",\n  " + line for line in lines) + b"\n}\n")
    return Cleaned(header, frozenset(seen))


def _split(source: Source) -> tuple[bytes, bytes]:
    """The text before the marker of the events and the start of the text after it."""
    text = b""
    while _MARKER not in text:
        block = source.read(_BLOCK_BYTES)
        if not block:
            raise Unfinished("the text ends before the events begin")
        text += block
        if not text.lstrip().startswith(b"{") or len(text) > _MOST_HEADER_BYTES:
            raise ValueError("expected an object with traceEvents")
    head, _, rest = text.partition(_MARKER)
    return head, rest


def _kept(header: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in header.items() if key in HEADER_KEYS}
    if isinstance(ranks := kept.pop("distributedInfo", None), dict):
        kept["distributedInfo"] = {key: ranks[key] for key in RANK_KEYS if key in ranks}
    return kept


def _lines(header: dict[str, Any]) -> list[bytes]:
    return [f"{json.dumps(key)}: {json.dumps(value)}".encode() for key, value in header.items()]


def _end(text: bytes) -> tuple[int, dict[str, Any]]:
    """The place of the bracket that closes the events, and the keys after it. Raises Unfinished where there is none."""
    # Every event has a phase, so the events end after the last one; lists of other keys may follow.
    end = text.find(b"]", text.rfind(b'"ph"') + 1)
    while end >= 0:
        if text[:end].rstrip().endswith(b"}") or text[:end].strip() == b"[":
            with suppress(ValueError):
                after: dict[str, Any] = json.loads(b"{" + text[end + 1 :].strip().removeprefix(b","))
                return end, after
        end = text.find(b"]", end + 1)
    raise Unfinished("the text ends before the trace does")
