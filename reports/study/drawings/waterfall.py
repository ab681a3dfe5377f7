"""Draw the way from the ideal step to the measured one, bar by bar."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ridgeline.reports.figures import families
from ridgeline.reports.figures.layout import Spec, horizontal_bars, tooltips
from ridgeline.reports.figures.palette import hue
from ridgeline.reports.formatting import duration
from ridgeline.reports.names import clip, escape
from ridgeline.reports.queries import Row, by_column
from ridgeline.reports.study.drawings import sentences
from ridgeline.reports.study.drawings.panels import Panel
from ridgeline.reports.study.drawings.run_bars import distinct, end_labels, frame
from ridgeline.reports.study.drawings.settings import SETTINGS, distinguishing, label

# The colour of each component; the others have the colour of their operator family.
COMPONENTS = {"ideal": hue("teal"), "steps": hue("indigo"), "work": hue("tan"), "host": hue("silver")}
TITLES = {
    "ideal": "ideal {} step",
    "steps": "{} steps",
    "work": "work beyond the closed form",
    "family": "{} beyond its roof",
    "guess": "{} beyond a guessed roof",
    "communication": "{}",
    "no roof": "{} without a roof",
    "host": "gaps and host",
}
MEASURED = "measured step"


def gap(rows: Sequence[Row], marks: Sequence[Row]) -> list[Panel]:
    """Draw a waterfall for each run, from the ideal step to the measured one."""
    runs = list(by_column(rows, "run_id").values())
    keys = distinguishing(rows, (*SETTINGS, "device"))
    labels = [label(own[0], keys) for own in runs]
    usual = Counter(_lengths(own[0]) for own in runs)
    drawn = []
    for i, own in enumerate(runs):
        run = own[0]
        # Blocks with a dual cache come first, graph replays before others, then the most frequent lengths.
        preferred = 2 * (run["mode"] == "dlm_block_dual") + (run["execution"] == "cuda_graph")
        rank = len(runs) * preferred + usual[_lengths(run)]
        note = f"{run['name']}: a generation of {run['steps']:,} steps."
        says = sentences.gap(own, {row["place"]: _title(row) for row in own})
        drawn.append(Panel(distinct(labels, i), _waterfall(own), rank, says, (note,)))
    return sorted(drawn, key=lambda panel: (-panel.rows, panel.title))


def _lengths(run: Row) -> tuple[Any, ...]:
    return tuple(run[key] for key in ("batch", "prompt_tokens", "generated_tokens", "block"))


def _title(row: Row) -> str:
    return TITLES.get(row["component"], "{}").format(row["item"])


def _waterfall(rows: Sequence[Row]) -> Spec:
    rows = sorted(rows, key=lambda row: row["place"])
    names, colors, changes = [], [], []
    for row in rows:
        component, item = row["component"], row["item"]
        names.append(escape(clip(_title(row), 48)))
        colors.append(COMPONENTS.get(component) or families.color(item))
        sign = "" if row["place"] == 1 else "−" if row["value_ns"] < 0 else "+"
        changes.append(f"{sign}{duration(abs(row['value_ns']))}")
    measured = rows[0]["measured_ns"]
    look = frame([*names, MEASURED], "s")
    look["yaxis"]["autorange"] = "reversed"
    look["xaxis"]["range"] = [0, max(measured, *(row["end_ns"] for row in rows)) / 1e9 * 1.25]
    data = [
        horizontal_bars(
            [*(abs(row["value_ns"]) / 1e9 for row in rows), measured / 1e9],
            [*names, MEASURED],
            # A negative part starts at its lower end and reaches back to where the part before it ended.
            base=[*(min(row["start_ns"], row["end_ns"]) / 1e9 for row in rows), 0],
            marker={"color": [*colors, hue("slate")]},
            textposition="none",
            **tooltips([*changes, f"{duration(measured)} "], "%{y}: %{text}"),
        ),
        # Bars with a base cannot have text outside.
        end_labels(
            [*(max(row["start_ns"], row["end_ns"]) / 1e9 for row in rows), measured / 1e9],
            [*names, MEASURED],
            [*changes, duration(measured)],
        ),
    ]
    return {"data": data, "layout": look}
