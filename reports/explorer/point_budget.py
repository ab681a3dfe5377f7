"""How many points a page can hold: single launches where they are few, otherwise bins of similar duration."""

from collections.abc import Iterable, Sequence

from ridgeline.reports.queries import Row, by_column

# Up to this many launches, each is a point of its own.
ALONE = 10_000
# Bins of duration an octave, and the number of launches up to which bins are this fine.
FINE = 16, 300_000
COARSE = 2
# Events of timelines, over all runs: activities of devices, gaps and operators. Fewer beside coarsely binned launches.
EVENTS, FEWER_EVENTS = 160_000, 45_000
# Bins of the overviews of runs that do not fit, over all lanes, and of a lane.
BINS = 90_000
LEAST_BINS, MOST_BINS = 64, 2_000


def bins_per_octave(launches: int) -> int:
    """Return how many bins of duration an octave has, by which launches are grouped; 0 if none is grouped.

    >>> bins_per_octave(10_000), bins_per_octave(10_001), bins_per_octave(1_000_000)
    (0, 16, 2)
    """
    if launches <= ALONE:
        return 0
    return FINE[0] if launches <= FINE[1] else COARSE


def events_of_timelines(launches: int) -> int:
    """Return how many events the timelines of a page may have, beside so many launches.

    >>> events_of_timelines(300_000), events_of_timelines(300_001)
    (160000, 45000)
    """
    return EVENTS if launches <= FINE[1] else FEWER_EVENTS


def stretches(windows: Iterable[Row], run_ids: Sequence[str], most: int = EVENTS) -> list[Row]:
    """Return the stretches of time of which the page holds every event; no two of a run overlap.

    ``windows`` are rows of ``sql/timeline/windows.sql``. In the order of ``run_ids``, first the steps of runs, then
    whole runs in place of their steps, while there are at most ``most`` events.
    """
    by_run = by_column(windows, "run_id")
    wholes = {run_id: [row for row in by_run.get(run_id, []) if row["step_id"] is None] for run_id in run_ids}
    steps = {run_id: _joined(row for row in by_run.get(run_id, []) if row["step_id"] is not None) for run_id in run_ids}

    def events(run_id: str, rows: Sequence[Row]) -> int:
        whole: int = sum(row["events"] for row in wholes[run_id])
        own: int = sum(row["events"] for row in rows)
        return min(own, whole)

    chosen: dict[str, list[Row]] = {}
    for larger in (steps, wholes):
        for run_id in run_ids:
            most -= events(run_id, larger[run_id]) - events(run_id, chosen.get(run_id, []))
            # The first run that does not fit ends the list: a shorter one after it would seem more important.
            if most < 0:
                return [row for own in chosen.values() for row in own]
            chosen[run_id] = larger[run_id]
    return [row for own in chosen.values() for row in own]


def _joined(windows: Iterable[Row]) -> list[Row]:
    """Join windows that overlap; the events of a joined window are at most the sum of theirs."""
    joined: list[Row] = []
    for row in sorted(windows, key=lambda row: (row["from_ns"], row["step_id"])):
        if joined and row["from_ns"] <= joined[-1]["to_ns"]:
            before = joined.pop()
            row = before | {"to_ns": max(before["to_ns"], row["to_ns"]), "events": before["events"] + row["events"]}
        joined.append(row)
    return joined


def bins_of_lanes(lanes: int) -> int:
    """Return into how many bins the overview of a run is cut, of a page with so many lanes.

    >>> bins_of_lanes(3), bins_of_lanes(600)
    (2000, 150)
    """
    return max(LEAST_BINS, min(MOST_BINS, BINS // max(lanes, 1)))
