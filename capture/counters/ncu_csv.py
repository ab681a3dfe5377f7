"""The raw CSV of Nsight Compute (`ncu --csv --page raw`), without torch or polars: `capture` and `analyze` read it."""

import csv
import io
import math
import re
from collections.abc import Iterator

import msgspec

from ridgeline.capture.errors import CaptureError

MOST_COLUMNS = 5_000
"""More than Nsight Compute has metrics."""

EXPECTED = "expected what `ncu --csv --page raw` writes"
_SCALES = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_COUNTED = re.compile(r"([KMGT]?)(?:byte|inst|sector|request|cycle|warp|thread)s?")
_NANOSECONDS = {"": 1e9, "m": 1e6, "u": 1e3, "n": 1.0}
_SECONDS = re.compile(r"([mun]?)s(?:ec(?:ond)?)?")


class NsightError(CaptureError):
    """Not the raw CSV of Nsight Compute; the message is one line."""


class NcuKernel(msgspec.Struct, frozen=True):
    """A profiled kernel: its name as Nsight Compute shortens it, and its metrics in bytes, nanoseconds or counts."""

    name: str
    metrics: dict[str, float]


def parse(text: str) -> list[NcuKernel]:
    """Return the kernels of a raw CSV in launch order, with the metrics that are finite numbers.

    Raises NsightError for a text without a header and a row of units.

    >>> parse('"ID","Kernel Name","dram__bytes_read.sum"\\n"","","Kbyte"\\n"0","f","1,024"\\n')
    [NcuKernel(name='f', metrics={'dram__bytes_read.sum': 1024000.0})]
    """
    rows = csv.reader(_table_lines(text))
    kernels = []
    try:
        header = next((row for row in rows if "Kernel Name" in row), [])
        units = next(rows, [])
        name_at = header.index("Kernel Name") if header else 0
        if not header or len(units) != len(header) or units[name_at]:
            raise NsightError(f"has no {'units row' if header else 'header'}: {EXPECTED}")
        # Metrics have "__" in their names. The other columns describe the launch.
        metrics = [
            (at, name, scale(unit)) for at, (name, unit) in enumerate(zip(header, units, strict=True)) if "__" in name
        ]
        for row in rows:
            if len(row) != len(header):  # output of the program, or a line that was cut off
                continue
            values: dict[str, float] = {}
            for at, name, factor in metrics:
                try:
                    value = float(row[at].replace(",", ""))  # thousands are separated by commas
                except ValueError:  # "n/a"
                    continue
                if math.isfinite(value):
                    values.setdefault(name, value * factor)
            kernels.append(NcuKernel(row[name_at], values))
    except csv.Error as error:
        raise NsightError(f"{error}: {EXPECTED}") from None
    return kernels


def _table_lines(text: str) -> Iterator[str]:
    """Yield the lines of `text` without messages of ncu ("==PROF== …"), which may come anywhere."""
    for line in io.StringIO(text, newline=""):
        if (separators := line.count(",")) >= MOST_COLUMNS:  # a reader of CSV would take gigabytes
            raise NsightError(f"has a line of {separators + 1:,} columns: {EXPECTED}")
        if not line.startswith("=="):
            yield line


def scale(unit: str) -> float:
    """Return the factor from a value in Nsight Compute's `unit` to bytes, nanoseconds or counts.

    >>> scale("Kbyte"), scale("usecond"), scale("")
    (1000.0, 1000.0, 1.0)
    """
    if counted := _COUNTED.fullmatch(unit):
        return _SCALES[counted[1]]
    seconds = _SECONDS.fullmatch(unit)
    return _NANOSECONDS[seconds[1]] if seconds else 1.0


def own_name(kernel: str) -> str:
    """Return the name of a kernel's function without result type, namespaces, template and arguments.

    >>> own_name("void at::native::(anonymous namespace)::reduce<float>(int)")
    'reduce'
    """
    plain = re.sub(r"\(anonymous namespace\)|<unnamed>", "unnamed", kernel)
    words = re.split(r"[<(]", plain, maxsplit=1)[0].split("::")[-1].split()
    return words[-1] if words else ""
