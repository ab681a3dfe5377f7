"""Say what a figure of the study shows, in sentences computed from the rows that it draws.

A sentence holds values, ratios and the labels of their rows. Where the rows lack a value, it names what is missing.
"""

import statistics
from collections import Counter
from collections.abc import Callable, Sequence

from ridgeline.reports.formatting import digits, duration, percent
from ridgeline.reports.queries import Row, by_column
from ridgeline.reports.study.drawings.lines import Measure
from ridgeline.reports.study.drawings.series import Series, series
from ridgeline.reports.study.drawings.settings import SETTINGS, label

# A place on an axis, in words.
PLACES = {
    "generated_tokens": "{:,.0f} generated tokens",
    "length": "length {:,.0f}",
    "batch": "batch {:,.0f}",
    "block": "block size {:,.0f}",
    "steps": "{:,.0f} steps",
}
QUANTITIES = {"FLOP per byte": "intensity", "step": "the time of a step", "tokens/s": "throughput"}

# What a speed-up loses from one stage to the next: each is the ratio of two stages of both runs, not a guess.
STAGES = {
    2: "refreshes and other kinds of step add relatively more to the block mode",
    3: "work of kernels beyond the closed form adds relatively more to the block mode",
    4: "the kernels of the block mode are further from their roofs",
    5: "gaps and host add relatively more to the block mode",
}
GUESSED = ("guess", "communication", "no roof")
NEAR = 0.1
"""A part of a step without a roof, and a distance from a closed form, that is worth a sentence."""

# The median value of a series at a place, and the least and the most of its repeats.
_Ends = tuple[float, float, float]


def times(ratio: float) -> str:
    """Format a ratio.

    >>> times(5.042), times(0.94)
    ('5.04×', '0.94×')
    """
    return f"{digits(ratio)}×"


def trend(drawn: Sequence[Series], x: str, measure: Measure) -> str:
    """Return where series differ at one place of the axis ``x``, and which of them changes most along it."""
    return " ".join(text for text in (_across(drawn, x, measure), _along(drawn, x, measure)) if text)


def _across(drawn: Sequence[Series], x: str, measure: Measure) -> str:
    """Compare the series at the place that most of them have, the furthest of several."""
    counts = Counter(place for one in drawn for place in _places(one, x, measure))
    if not counts or max(counts.values()) < 2:
        return ""
    place = max(counts, key=lambda place: (counts[place], place))
    at = [(one.label, _places(one, x, measure)[place]) for one in drawn if place in _places(one, x, measure)]
    at.sort(key=lambda entry: entry[1])
    (least, low), (most, high) = at[0], at[-1]
    overlap = ", within the spread of repeats" if low[2] >= high[1] else ""
    show = _shown(measure)
    return (
        f"At {PLACES[x].format(place)}, {QUANTITIES.get(measure.title, measure.title)} is {show(low[0])} ({least}) to "
        f"{show(high[0])} ({most}), {_ratio(low[0], high[0])}{overlap}."
    )


def _along(drawn: Sequence[Series], x: str, measure: Measure) -> str:
    """Name the series that changes most along the axis."""
    changes = []
    for one in drawn:
        places = {place: ends[0] for place, ends in _places(one, x, measure).items() if ends[0] > 0}
        if len(places) > 1:
            low, high = min(places, key=lambda p: places[p]), max(places, key=lambda p: places[p])
            changes.append((places[high] / places[low], one.label, (low, places[low]), (high, places[high])))
    if not changes:
        return f"No series has {QUANTITIES.get(measure.title, measure.title)} at two places."
    _, name, low_end, high_end = max(changes)
    show = _shown(measure)
    ends = [f"{show(value)} at {PLACES[x].format(place)}" for place, value in (low_end, high_end)]
    who = name if len(changes) == 1 else f"Along the axis, {name} changes most"
    return f"{who}: {' to '.join(ends)}, {_ratio(low_end[1], high_end[1])}."


def _places(one: Series, x: str, measure: Measure) -> dict[float, _Ends]:
    """Return the value of a series at each of its places, with the least and the most of its repeats."""
    rows = [row for row in one.rows if row.get(measure.column) is not None]
    places = {}
    for place, own in by_column(rows, x).items():
        values = [row[measure.column] for row in own]
        ends = [row[end] for row in own for end in measure.spread or () if row[end] is not None] + values
        places[place] = statistics.median(values), min(ends), max(ends)
    return places


def _shown(measure: Measure) -> Callable[[float], str]:
    if measure.unit == "s":
        return duration
    unit = "FLOP/B" if measure.title == "FLOP per byte" else measure.title
    return lambda value: f"{digits(value)} {unit}"


def _ratio(low: float, high: float) -> str:
    """Format how far apart two values are.

    >>> _ratio(2, 5), _ratio(100, 101), _ratio(0, 5)
    ('a factor of 2.5', 'within 1 %', 'from zero')
    """
    if low <= 0:
        return "from zero"
    ratio = high / low
    return f"a factor of {digits(ratio)}" if ratio >= 1.05 else f"within {percent(round(ratio - 1, 3))}"


def against_ar(ar: Sequence[Series], drawn: Sequence[Series]) -> str:
    """Say with how many steps a series is at most as slow as AR of the same execution."""
    sentences = []
    for level in ar:
        own, latency_ns = level.rows[0], statistics.median(row["latency_ns"] for row in level.rows)
        for one in drawn:
            if one.rows[0]["execution"] != own["execution"]:
                continue
            reached = [row["steps"] for row in one.rows if row["latency_ns"] <= latency_ns]
            how = (
                f"as fast with {max(reached):,} steps or fewer"
                if reached
                else "slower with every number of steps drawn"
            )
            sentences.append(f"AR ({level.label}) takes {duration(latency_ns)}; {one.label} is {how}.")
    return (
        sentences[0]
        if sentences
        else "No AR run of the same settings and execution says with how many steps AR is matched."
    )


def speedup(rows: Sequence[Row]) -> str:
    """Say how much of the ideal speed-up of the fastest block mode is measured, and at which stage most is lost."""
    stages = {one.label: _stages(one.rows) for one in series(rows, SETTINGS)}
    complete = {name: own for name, own in stages.items() if own.keys() >= {1, 5}}
    if not complete:
        return "Not known: no run has both an ideal and a measured speed-up."
    best = max(complete, key=lambda name: complete[name][5])
    own = complete[best]
    text = f"{best}: {times(own[5])} the speed of the naive mode, of {times(own[1])} by the ideal step. {_loss(own)}"
    if len(complete) > 1:
        least = min(complete, key=lambda name: complete[name][5])
        end = f"The slowest of {len(complete)} settings is {least}: {times(complete[least][5])}."
        text += f" {end} {_loss(complete[least])}"
    return text


def _stages(rows: Sequence[Row]) -> dict[int, float]:
    """Return the median speed-up at each stage."""
    known = [row for row in rows if row["speedup"]]
    return {
        stage: statistics.median(row["speedup"] for row in own)
        for stage, own in sorted(by_column(known, "stage").items())
    }


def _loss(own: dict[int, float]) -> str:
    """Say from which stage to which a speed-up falls most."""
    falls = [(own[stage] / own[stage - 1], stage) for stage in own if stage - 1 in own]
    ratio, stage = min(falls, default=(1.0, 0))
    if ratio >= 1:
        return "No stage loses speed-up."
    return f"Most is lost from {times(own[stage - 1])} to {times(own[stage])}: {STAGES[stage]}."


def gap(rows: Sequence[Row], titles: dict[int, str]) -> str:
    """Say how far a run's measured step is from its ideal one, and which parts add most.

    ``titles`` are the names of the bars by the place of their row.
    """
    measured, ideal = rows[0]["measured_ns"], sum(row["value_ns"] for row in rows if row["component"] == "ideal")
    added = sorted(
        (row for row in rows if row["component"] != "ideal" and row["value_ns"] > 0), key=lambda row: -row["value_ns"]
    )
    text = f"A step takes {duration(measured)}, {times(measured / ideal)} its ideal {duration(ideal)}." if ideal else ""
    parts = [
        f"{titles[row['place']]} {duration(row['value_ns'])} ({percent(row['value_ns'] / measured)} of the step)"
        for row in added[:3]
    ]
    text += f" Most is added by {', '.join(parts)}." if parts else " No part adds time."
    unjudged = sum(row["value_ns"] for row in rows if row["component"] in GUESSED)
    if unjudged > NEAR * measured:
        text += f" No known roof judges {percent(unjudged / measured)} of the step."
    return text.strip()


def split(bars: Sequence[tuple[str, list[Row]]]) -> str:
    """Say which part of the longest generation is largest, and between which runs the host's share lies."""
    name, longest = max(bars, key=lambda bar: bar[1][0]["latency_ns"])
    largest = max(longest, key=lambda row: row["value_ns"])
    text = (
        f"Largest part of the longest generation ({name}, {duration(largest['latency_ns'])}): {largest['part']}, "
        f"{percent(largest['value_ns'] / largest['latency_ns'])}."
    )
    # The part of a kind of step that was not traced includes its host time.
    traced = [(name, own) for name, own in bars if all(row["basis"] != "not traced" for row in own)]
    host = [(row["value_ns"] / row["latency_ns"], name) for name, own in traced for row in own if row["part"] == "host"]
    if not host:
        return f"{text} The host's part is not known: no run traced every kind of its steps."
    (least, low), (most, high) = min(host), max(host)
    if len(host) == 1:
        return f"{text} The host's part is {percent(least)}."
    return f"{text} The host's part is {percent(max(least, 0))} ({low}) to {percent(most)} ({high})."


def roofline(rows: Sequence[Row]) -> str:
    """Say which kind of step is nearest to the roofs, by the least time of its closed form, and which is furthest."""
    keys = ("mode", "kind", "execution")
    known = [row for row in rows if row["floor_ns"] and row["step_ns"]]
    if not known:
        return "How near a step is to its roofs is not known: no step has a closed form and a roof."
    known.sort(key=lambda row: row["floor_ns"] / row["step_ns"])

    def reached(row: Row) -> str:
        floor, step = row["floor_ns"], row["step_ns"]
        share = percent(round(floor / step, 3))
        return f"{label(row, keys)}, {share} ({duration(floor)} at the roofs, {duration(step)} measured)"

    if len(known) == 1:
        return f"Of the speed at its roofs: {reached(known[0])}."
    return f"Nearest to the roofs: {reached(known[-1])}. Furthest: {reached(known[0])}."


def costs(rows: Sequence[Row]) -> str:
    """Say how the intensity of traced kernels compares with the closed form, over whole steps and by part."""
    by_part = {
        part: [row["intensity"] / row["predicted_intensity"] for row in own]
        for part, own in by_column(rows, "component").items()
    }
    whole = by_part.pop("all", [])
    medians = ", ".join(f"{part} {times(statistics.median(own))}" for part, own in by_part.items())
    parts = f"Kernels over closed form, medians by part: {medians}." if medians else ""
    if not whole:
        return f"No whole step has an intensity by trace. {parts}".strip()
    near = sum(abs(ratio - 1) <= NEAR for ratio in whole)
    return (
        f"Whole steps have {times(statistics.median(whole))} the intensity of the closed form, the median of "
        f"{len(whole):,} ({times(min(whole))} to {times(max(whole))}); {near:,} of them lie within {percent(NEAR)}. "
        f"{parts}"
    ).strip()


def throughput(drawn: Sequence[Series]) -> str:
    """Say which series has the highest throughput at which batch, and which runs out of memory first."""
    fits = [
        (row["tokens_per_s"], one.label, row["batch"]) for one in drawn for row in one.rows if row["outcome"] == "ok"
    ]
    failed = [(row["batch"], one.label) for one in drawn for row in one.rows if row["outcome"] == "oom"]
    text = "No batch was timed."
    if fits:
        rate, name, batch = max(fits)
        text = f"Highest throughput: {name}, {digits(rate)} tokens/s at batch {batch:,}."
    if not failed:
        return f"{text} No captured batch ran out of memory."
    batch, name = min(failed)
    return f"{text} First out of memory: {name}, at batch {batch:,}."


def energy(bars: Sequence[tuple[str, Row]]) -> str:
    """Say which runs take least and most energy a token."""
    ordered = sorted(bars, key=lambda bar: bar[1]["joules_per_token"])
    (least, low), (most, high) = ordered[0], ordered[-1]
    text = f"{least}: {digits(low['joules_per_token'])} J a token at {low['mean_power_w']:.0f} W"
    if len(ordered) == 1:
        return f"{text}."
    ratio = _ratio(low["joules_per_token"], high["joules_per_token"])
    return f"{text}; {most}: {digits(high['joules_per_token'])} J at {high['mean_power_w']:.0f} W, {ratio}."
