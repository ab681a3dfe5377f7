"""How much memory ingest may take, and whether a trace fits into it.

Decoding is bounded whatever the size of a trace: pieces of it at a time, columns in files. Afterwards the events of one
trace are in memory at once, in so many bytes each; a trace for which that is too much is refused once it is decoded.
That is an estimate; :mod:`ridgeline.analyze.resources.memory_watch` sees to it that it is not exceeded.
"""

from __future__ import annotations

import math
import os
import re
import resource
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ridgeline.analyze.errors import TraceError
from ridgeline.analyze.reading.columns import GROUPS, Columns

LEAST_BYTES = 256 << 20
"""What the libraries and one decoder take; less than that is refused."""
DECODER_BYTES = 64 << 20
"""A decoder process with the pieces it has in hand."""
LIBRARY_BYTES = 200 << 20
"""This process with all that it imports and DuckDB's buffers, before it has a trace."""
ROW_BYTES = {"device": 380, "launch": 100, "operator": 160, "annotation": 300}
"""What a row of each group takes when most is held, rounded up; tests/bench/bench_memory.py measures."""
_SHARE = 0.6
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_UNITS = {"": 1, "B": 1, **{unit + "B": 1000**i for i, unit in enumerate("KMGT", 1)}}
_UNITS |= {unit: 1000**i for i, unit in enumerate("KMGT", 1)} | {
    unit + "IB": 1024**i for i, unit in enumerate("KMGT", 1)
}
_GROUPS = Path("/proc/self/cgroup")
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def parse_size(text: str) -> int:
    """Bytes of ``2GB``, ``512 MiB`` or ``1.5G``. Raises ``ValueError`` with what was expected."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    if not found or found[2].upper() not in _UNITS:
        raise ValueError(f"{text!r} is no size: expected one such as 2GB, 512MB or 1.5GiB")
    return int(float(found[1]) * _UNITS[found[2].upper()])


def default_bytes() -> int:
    """60 % of what the machine has, or of what the control group of this process may use."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for path in (*_LIMITS, *_own_limits()):
        with suppress(OSError, ValueError):  # absent, or "max"
            total = min(total, int(Path(path).read_text()))
    return int(_SHARE * total)


def _own_limits() -> list[str]:
    """Where the limits of this process' control groups are, and those of the groups around them."""
    found = []
    with suppress(OSError):
        for line in _GROUPS.read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            v1 = "memory" in controllers.split(",")
            if v1 or not controllers:
                root, name = Path(_LIMITS[v1]).parent, Path(_LIMITS[v1]).name
                around = Path(group.lstrip("/"))
                found += [str(root / each / name) for each in (around, *around.parents)]
    return found


def decoders_within(memory: int, jobs: int) -> int:
    """How many decoder processes a quarter of the memory has room for, at least one and at most ``jobs``."""
    return max(1, min(jobs, memory // 4 // DECODER_BYTES))


def check(path: Path, parts: Sequence[Columns], memory: int) -> None:
    """Whether a decoded trace can be loaded within so many bytes. Raises :class:`TraceError`."""
    rows = {group: sum(part.rows(group) for part in parts) for group in GROUPS}
    row_bytes = dict(ROW_BYTES)
    if not rows["device"]:
        row_bytes["operator"] += ROW_BYTES["device"]  # without a device, operators are its activities too
    libraries = max(LIBRARY_BYTES, resident_bytes())
    needed = libraries + len(parts) * DECODER_BYTES + sum(rows[group] * row_bytes[group] for group in GROUPS)
    if needed > memory:
        raise TraceError(
            f"{path}: {sum(rows.values()):,} operators, launches and activities take about {in_words(needed)} of "
            f"memory, more than the {in_words(memory)} allowed: try --memory {math.ceil(needed / 1e9)}GB or record "
            "fewer steps"
        )


def resident_bytes(pid: int | None = None) -> int:
    """What this process holds, or another, nothing if it is gone; where the system does not say, the most it held."""
    with suppress(OSError, IndexError):  # a process that is gone
        return int(Path(f"/proc/{pid or 'self'}/statm").read_text().split()[1]) * _PAGE_BYTES
    if pid and pid != os.getpid():
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def in_words(size: int) -> str:
    """Megabytes or gigabytes."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
