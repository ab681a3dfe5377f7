"""What a benchmark measured, as lines, as tables in Markdown, and as JSON."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, log
from pathlib import Path
from typing import Any

from tests.bench.traces import File

COLD, WARM, HTA = "ridgeline, first sight", "ridgeline, known prices", "HTA, load"
TOOLS = (COLD, WARM, HTA)
IMPORTS = "HTA, imports"
"""What HTA needs before it can load; no part of its load."""
LARGE_MB = 10
SLOWER = "◀ slower"
HEADER = (
    "trace", "MB", "events", "signatures", "first sight, s", "known prices, s", "HTA's load, s",
    "HTA / first sight", "HTA / known prices", "peak MB", "HTA's peak MB",
)  # fmt: skip
WIDTHS = (48, 6, 10, 10, 14, 15, 13, 17, 18, 9, 13)


@dataclass
class Row:
    """A trace and each tool's figures: ``runs_s`` are the seconds of every run, and an error is one line."""

    file: File
    signatures: int | None = None
    runs_s: dict[str, list[float]] = field(default_factory=dict)
    peak_mb: dict[str, float] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def seconds(self, tool: str) -> float | None:
        """Return the best run of a tool; None if it failed."""
        return None if tool in self.errors else min(self.runs_s.get(tool, ()), default=None)

    def times_hta(self, tool: str) -> float | None:
        """Return HTA's load over the tool's time; None if one of them failed."""
        ours, hta = self.seconds(tool), self.seconds(HTA)
        return hta / ours if ours and hta else None

    def cells(self) -> list[str]:
        """Return the row of a table under ``HEADER``."""
        file = self.file
        signatures = "" if self.signatures is None else f"{self.signatures:,}"
        peaks = (max(self.peak_mb.get(tool, 0) for tool in tools) for tools in ((COLD, WARM), (HTA,)))
        return [
            file.name,
            f"{file.megabytes:.1f}" if file.megabytes < 10 else f"{file.megabytes:,.0f}",
            f"{file.events:,}",
            signatures,
            *(self._seconds_cell(tool) for tool in TOOLS),
            *(self._times_cell(tool) for tool in (COLD, WARM)),
            *(f"{peak:,.0f}" if peak else "" for peak in peaks),
        ]

    def _seconds_cell(self, tool: str) -> str:
        seconds = self.seconds(tool)
        return f"fails: {self.errors.get(tool)}" if seconds is None else f"{seconds:.2f}"

    def _times_cell(self, tool: str) -> str:
        times = self.times_hta(tool)
        if times is None:
            return ""
        return f"{times:.1f}" if times >= 1 else f"{times:.2f} {SLOWER}"

    def records(self) -> list[dict[str, Any]]:
        """Return a JSON object for each tool."""
        shared = {
            "trace": self.file.name, "megabytes": self.file.megabytes, "events": self.file.events,
            "signatures": self.signatures, "hta_seconds": self.seconds(HTA),
        }  # fmt: skip
        return [
            shared
            | {"tool": tool, "seconds": self.seconds(tool), "runs_s": self.runs_s.get(tool, [])}
            | {"peak_mb": self.peak_mb.get(tool), "times_hta": self.times_hta(tool), "error": self.errors.get(tool)}
            for tool in TOOLS
        ]


def line(cells: Sequence[str]) -> str:
    """Return cells as a line for a terminal."""
    (name, width), *others = zip(cells, WIDTHS, strict=True)
    short = name if len(name) <= width else f"{name[: width - 1]}…"
    return "  ".join([short.ljust(width), *(cell.rjust(width) for cell, width in others)]).rstrip()


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table whose first column is text and whose others are figures."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    lines = ([cell.replace("|", "¦").replace("<", "&lt;") for cell in row] for row in (header, rule, *rows))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def geometric_mean(values: Iterable[float]) -> float | None:
    """Return the geometric mean; None of no values."""
    logs = [log(value) for value in values]
    return exp(sum(logs) / len(logs)) if logs else None


def summary(rows: Sequence[Row]) -> str:
    """Return the geometric means of HTA's load over ours, and the traces that HTA loads faster or not at all."""
    lines = []
    for label, chosen in (
        ("all traces that HTA loads", rows),
        (f"those above {LARGE_MB} MB", [row for row in rows if row.file.megabytes > LARGE_MB]),
    ):
        for tool in (COLD, WARM):
            times = [each for row in chosen if (each := row.times_hta(tool)) is not None]
            if (mean := geometric_mean(times)) is not None:
                lines.append(
                    f"{tool}, {label} ({len(times)}): HTA's load takes {mean:.1f} times as long in the geometric mean, "
                    f"{min(times):.1f} to {max(times):.1f} times; slower than HTA on {sum(each < 1 for each in times)}."
                )
    failed = [row.file.name for row in rows if HTA in row.errors]
    lines.append(f"HTA cannot load {len(failed)} of {len(rows)} traces." if failed else "HTA loads every trace.")
    return "\n".join(f"- {each}" for each in lines)


def sentence(real: Sequence[Row], generated: Sequence[Row], torch_s: float) -> str:
    """Return the README's sentences about speed."""
    times = {row.file: each for row in real if (each := row.times_hta(COLD)) is not None}
    large = [each for file, each in times.items() if file.megabytes > LARGE_MB]
    parts = []
    if large:
        parts.append(
            f"At first sight a trace is loaded {geometric_mean(large):.1f} times as fast as by HolisticTraceAnalysis "
            f"(geometric mean over {len(large)} real traces above {LARGE_MB} MB, {min(large):.1f} to {max(large):.1f}; "
            f"{geometric_mean(times.values()):.1f} over all {len(times)})."
        )
    if generated and (cold := generated[0].seconds(COLD)) and (warm := generated[0].seconds(WARM)):
        parts.append(
            f"A trace of {generated[0].file.megabytes:,.0f} MB takes {cold:.1f} s at first sight and {warm:.1f} s with "
            f"known prices; `import torch` takes {torch_s:.1f} s."
        )
    return "\n".join(parts)


def fill(path: Path, blocks: Mapping[str, str]) -> None:
    """Replace what stands between ``<!-- bench: NAME -->`` and ``<!-- end -->`` in a page by the block of that name."""
    text = path.read_text(encoding="utf-8")
    for name, block in blocks.items():
        marks = re.compile(rf"(<!-- bench: {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
        text = marks.sub(lambda match, block=block: f"{match[1]}{block}\n{match[2]}", text)  # type: ignore[misc]
    path.write_text(text, encoding="utf-8")
