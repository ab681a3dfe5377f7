"""The verdict of a comparison: which side is faster, by which time, in a few sentences."""

from collections.abc import Callable

from ridgeline.reports.comparison.compare import (
    GENERATION,
    ITERATION,
    NO_UNIT,
    TIMES,
    TRACE,
    UNJUDGED,
    Comparison,
    noise_of,
)
from ridgeline.reports.formatting import digits, duration
from ridgeline.reports.names import clip
from ridgeline.reports.queries import Row

MOST = 4
"""Kinds of step, and parts of an iteration, that a verdict names."""
LITTLE = 0.05
"""A larger change within noise is not called the same: it cannot be told."""

_NAMES = {GENERATION: "a generation", ITERATION: "an iteration", "(step)": "a step", TRACE: "equal work"}


def _plain(name: str) -> str:
    return name


def verdict(comparison: Comparison, quote: Callable[[str], str] = _plain) -> list[str]:
    """Return a sentence for each kind of step that both sides have, and what the verdict lacks.

    Of several kinds of either side, the first sentence is on a whole generation, where both sides timed some. ``quote``
    marks names that come from traces.
    Wall time decides: without the profiler if both sides were timed, else under it. Device time alone is no verdict on
    a step, which may wait for its host.
    """
    if comparison.unit == "second":
        return [NO_UNIT]
    rows = {(row["level"], row["stage"]): row for row in comparison.rows if row["level"] in TIMES and _in_both(row)}
    stages = [ITERATION] if comparison.unit == "iteration" else comparison.stages
    judged = [stage for stage in stages if stage not in UNJUDGED and ("step", stage) in rows]
    sentences, bases = [], set()
    for stage in judged:
        level = next(level for level in TIMES if (level, stage) in rows)
        bases.add(level)
        sentences.append(_sentence(rows[level, stage], rows["step", stage], quote))
    whole = rows.get(("generation", GENERATION))
    # A kind that one side lacks, as a refresh, is a part of its generations too.
    if whole and len([stage for stage in stages if stage not in UNJUDGED]) > 1:
        sentences.insert(0, _sentence(whole, whole, quote))
    sentences[:1] = [sentence + _phases(comparison, quote) for sentence in sentences[:1]]
    most = MOST + len(sentences) - len(judged)
    if sentences[most:]:
        sentences[most:] = [f"and {len(sentences) - most} more kinds of step"]
    if comparison.unit == "work":
        units = rows["step", TRACE]["other_steps"] / rows["step", TRACE]["base_steps"]
        sentences.append(
            "no steps, but both sides launched the same operators in the same proportion: compared for the same work, "
            f"of which the second recording holds {digits(units)} times as much"
        )
    if "wall" in bases:
        sentences.append("the profiler slows the host: time both sides without it for a final verdict")
    if "step" in bases:
        sentences.append("device time only: no wall time is known of both sides, and a step may wait for its host")
    return sentences


def _in_both(row: Row) -> bool:
    return None not in (row["base_ns_per_step"], row["other_ns_per_step"])


def _sentence(row: Row, device: Row, quote: Callable[[str], str]) -> str:
    """Return the verdict on one kind of step by ``row``, with its device time if that says something else."""
    noise = "".join(f" ({', '.join(texts)})" for texts in [noise_of(row)] if texts)
    text = f"{_name(row, quote)}: {_change(row)}, {_times(row)} {TIMES[row['level']]}{noise}"
    if row is device or device["status"] == row["status"]:
        return text
    changed = _change(device).replace("faster", "shorter").replace("slower", "longer")
    verb = "shows" if changed.startswith("no ") else "is"
    text += f"; its device time {verb} {changed}, {_times(device)}"
    return text + (", which is no speed-up of the step" if device["status"] == "faster" else "")


def _name(row: Row, quote: Callable[[str], str]) -> str:
    stage = str(row["stage"])
    return _NAMES.get(stage) or quote(clip(stage, 60))


def _times(row: Row) -> str:
    return " to ".join(duration(row[f"{side}_ns_per_step"]) for side in ("base", "other"))


def _change(row: Row) -> str:
    """Return ``slower`` and so on with the percentage, if the row has one.

    >>> _change({"status": "slower", "change": 0.25})
    '25 % slower'
    >>> _change({"status": "same", "change": 0.3, "base_ns_per_step": 100, "delta_ns_per_step": 30})
    'no change beyond noise'
    """
    if row["status"] == "same":
        is_little = abs(row["delta_ns_per_step"]) <= LITTLE * row["base_ns_per_step"]
        return "the same" if is_little else "no change beyond noise"
    share = row["change"]
    return row["status"] if share is None else f"{digits(round(abs(share) * 100, 1))} % {row['status']}"


def _phases(comparison: Comparison, quote: Callable[[str], str]) -> str:
    """Return the phases of an iteration whose device time changed, most first."""
    if comparison.unit != "iteration":
        return ""
    changed = [
        row
        for row in comparison.level("step")
        if row["stage"] not in (ITERATION, *UNJUDGED) and row["status"] != "same" and _in_both(row)
    ]
    changed.sort(key=lambda row: -abs(row["delta_ns_per_step"]))
    parts = [f"{_name(row, quote)} {_times(row)} of device time, {_change(row)}" for row in changed[:MOST]]
    return f"; of it {'; '.join(parts)}" if parts else ""
