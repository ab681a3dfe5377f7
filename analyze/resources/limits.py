"""Memory limits of one analysis, all derived once from what this process and its children may hold together."""

from __future__ import annotations

import ctypes
import os
import re
import resource
import sys
from contextlib import suppress
from pathlib import Path

import msgspec

LEAST_BYTES = 256 << 20
"""What the libraries and one decoder process take; a smaller limit is refused."""
DECODER_BYTES = 64 << 20
"""A decoder process with the pieces it is decoding."""
COMPANION_SHARE = 32
"""A companion file may have this part of the memory: decoded, it takes several times its size."""
_DEFAULT_SHARE = 0.6
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_UNITS = {"": 1, "B": 1}
_UNITS |= {unit + end: 1000**i for i, unit in enumerate("KMGT", 1) for end in ("", "B")}
_UNITS |= {unit + "IB": 1024**i for i, unit in enumerate("KMGT", 1)}
_MEMORY, _GROUPS = Path("/proc/self/statm"), Path("/proc/self/cgroup")
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""The limit files of control groups, version 2 and version 1, as seen inside a container."""


class Limits(msgspec.Struct, frozen=True):
    """How many bytes each part of an analysis may hold.

    Decoding is bounded whatever a trace's size: it takes a piece of the trace at a time and keeps columns in files.
    Afterwards the events of one trace are in memory at once; :func:`ridgeline.analyze.reading.fits_memory.check`
    refuses a trace that is too large, and :mod:`ridgeline.analyze.resources.memory_watch` enforces the limit.
    """

    memory_bytes: int
    """This process and its children."""
    database_bytes: int
    """The buffers of DuckDB."""
    companion_bytes: int
    """A file beside a trace, as decompressed."""
    event_bytes: int
    """The JSON text of one event."""

    @classmethod
    def of(cls, memory_bytes: int | None = None) -> Limits:
        """Return the limits that follow from ``memory_bytes``; by default 60 % of what this process may use."""
        memory = memory_bytes or default_bytes()
        return cls(memory, memory // 4, memory // COMPANION_SHARE, memory // 16)

    def decoders(self, jobs: int) -> int:
        """Return how many decoder processes fit into a quarter of the memory: at least 1, at most ``jobs``."""
        return max(1, min(jobs, self.memory_bytes // 4 // DECODER_BYTES))


STANDARD = Limits.of(8 << 30)
"""The limits of 8 GiB, for callers that have none."""


def parse_size(text: str) -> int:
    """Return the bytes of ``2GB``, ``512 MiB`` or ``1.5G``. Raises ``ValueError``, saying what was expected."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    if not match or match[2].upper() not in _UNITS:
        raise ValueError(f"{text!r} is no size: expected one such as 2GB, 512MB or 1.5GiB")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def in_words(size: int) -> str:
    """Return a size in megabytes or gigabytes."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def default_bytes() -> int:
    """Return 60 % of the machine's memory, or of the least that a control group of this process allows."""
    paths = list(_LIMITS)
    with suppress(OSError):
        for line in _GROUPS.read_text().splitlines():
            # version 1 lists its controllers, version 2 leaves the field empty: `0::/user.slice/session.scope`
            _, controllers, group = line.split(":", 2)
            is_version_1 = "memory" in controllers.split(",")
            if is_version_1 or not controllers:
                limit = Path(_LIMITS[is_version_1])
                # a group is also bound by the limits of the groups around it
                own = Path(group.lstrip("/"))
                paths += [str(limit.parent / each / limit.name) for each in (own, *own.parents)]
    total = os.sysconf("SC_PHYS_PAGES") * _PAGE_BYTES
    for path in paths:
        with suppress(OSError, ValueError):  # absent, or "max"
            total = min(total, int(Path(path).read_text()))
    return int(_DEFAULT_SHARE * total)


def return_freed_memory() -> None:
    """Return to the system what this process has freed and keeps; it takes some milliseconds for 100 MB."""
    with suppress(OSError, AttributeError):  # a C library other than GNU's keeps less
        ctypes.CDLL(None).malloc_trim(0)


def resident_bytes() -> int:
    """Return the resident memory of this process; where the system has no ``/proc``, its peak."""
    # psutil says the same, but importing it takes 12 ms, and the memory watch reads this a hundred times a second
    with suppress(OSError), _MEMORY.open("rb", buffering=0) as file:
        return int(file.read().split()[1]) * _PAGE_BYTES
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
