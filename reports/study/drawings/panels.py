"""Split a figure into panels: one drawing for each device, length or batch that does not fit on one axis."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ridgeline.reports.figures.layout import Spec
from ridgeline.reports.queries import Row
from ridgeline.reports.study.drawings.settings import labelled_groups

# How many settings without a drawing a note names.
MOST_UNDRAWN = 6


@dataclass(frozen=True)
class Panel:
    """One drawing of a figure; ``says`` is what it shows, in sentences, and ``notes`` what it leaves out."""

    title: str
    spec: Spec
    rows: int
    says: str = ""
    notes: tuple[str, ...] = ()


# A specification, sentences that say what it shows, and notes.
Drawing = tuple[Spec, str, Sequence[str]]
# From rows of a figure's view and entries of paper.toml to panels.
Draw = Callable[[Sequence[Row], Sequence[Row]], list[Panel]]


def panels(rows: Sequence[Row], keys: Sequence[str], draw: Callable[[list[Row]], Drawing | None]) -> list[Panel]:
    """Return a panel for each combination of the settings ``keys``, the panel with the most places on its axis first.

    ``draw`` returns a specification, its sentences and notes, or None if the rows make no drawing; a note names
    those settings.
    """
    drawn, undrawn = [], []
    for title, own in labelled_groups(rows, keys):
        runs = {row["run_id"] for row in own}
        drawing = draw(own)
        if drawing is None:
            undrawn.append(f"{title} ({len(runs)} runs)")
            continue
        spec, says, notes = drawing
        throttled = len({row["run_id"] for row in own if row.get("throttled_share")})
        if throttled:
            notes = [*notes, f"Clocks were throttled at times (power cap, heat) in {throttled} of {len(runs)} runs."]
        drawn.append(Panel(title, spec, len(own), says, tuple(note for note in notes if note)))
    more = [f"{len(undrawn) - MOST_UNDRAWN} others"] if len(undrawn) > MOST_UNDRAWN else []
    note = (f"No figure of: {'; '.join(undrawn[:MOST_UNDRAWN] + more)}.",) if undrawn else ()

    def breadth(panel: Panel) -> tuple[int, int]:
        # Places on the axis count before rows: one length with many runs makes a poor curve.
        places = {place for trace in panel.spec["data"] for place in trace.get("x", ()) if place is not None}
        return -len(places), -panel.rows

    return [replace(panel, notes=panel.notes + note) for panel in sorted(drawn, key=breadth)]
