"""The data of the explorer: runs, roofs, launches and timelines, as its scripts read them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ridgeline.reports import queries
from ridgeline.reports.embedding import coded, rounded
from ridgeline.reports.explorer import run_table, timeline
from ridgeline.reports.explorer.point_budget import bins_per_octave, events_of_timelines
from ridgeline.reports.figures import bars, families, marks, roofs
from ridgeline.reports.figures.layout import axis, layout
from ridgeline.reports.figures.machine import Machine, device_name
from ridgeline.reports.names import shorten
from ridgeline.reports.queries import Columns, Connection, Row

# Queries whose rows the page holds unchanged. Panels about kernels are computed in the browser, from launch groups.
PANELS = ("runs", "ceilings", "ledger", "step_diagnosis", "steps", "timings", "telemetry", "warnings")
# Statements that the page shows, and those that it first fills with the current selection.
STATEMENTS = ("launch_groups", *PANELS, "verdict", "timeline/events", "timeline/bins")
TEMPLATES = ("selection", "points", "bars", "icicle", "lost", "bytes")

# The fields of a roof that the browser draws it from.
ROOF = ("resource", "level", "unit", "precision", "value", "unit_of_value", "source", "measured_on")

# The columns of a run that scripts read by name, besides those of the list of runs.
RUN = ("name", "mode", "execution", "device_time_ns", "kernels", "outcome", "message")

# Significant digits: a verdict is read, and nothing is computed from it.
VERDICT_DIGITS = 6


@dataclass(frozen=True)
class Gathered:
    """The rows of every panel, by column the launch groups, and the timelines as the page holds them."""

    rows: dict[str, list[Row]]
    launch_groups: Columns
    timeline: dict[str, Any]
    # Bins of duration an octave by which launches are grouped; 0 if every launch is a group of its own.
    bins: int


def gather(connection: Connection, run_ids: Sequence[str]) -> Gathered:
    """Query everything that the page of these runs needs."""
    rows = {name: queries.rows(connection, name, runs=run_ids) for name in PANELS}
    launches = sum(run["kernels"] or 0 for run in rows["runs"])
    bins = bins_per_octave(launches)
    # A table, since the verdict is computed from the groups too.
    statement = f"CREATE OR REPLACE TEMP TABLE launch_groups AS {queries.text('launch_groups')}"
    connection.execute(statement, {"runs": list(run_ids), "bins": bins})
    groups = queries.fetch_columns(connection, "FROM temp.launch_groups")
    verdict = queries.text("verdict").replace("$launch_groups", "FROM temp.launch_groups")
    rows["verdict"] = queries.fetch(connection, verdict, runs=run_ids)
    # The runs with most device time are the first whose timelines the page holds.
    longest = sorted(rows["runs"], key=lambda run: -(run["device_time_ns"] or 0))
    ids, most = [run["run_id"] for run in longest], events_of_timelines(launches)
    timelines = timeline.gather(connection, ids, rows["steps"], most)
    return Gathered(rows, groups, timelines, bins)


def document(gathered: Gathered) -> dict[str, Any]:
    """Return the page's data: axes and roofs of every device, and launch groups from which the browser makes points."""
    rows = gathered.rows
    machine_of = _machines(rows)
    groups = _groups(rows["runs"], machine_of)
    # The browser draws the roofs of the chosen runs. Runs that were captured together share a set of them.
    roofs_of = {run_id: _roofs(machine) for run_id, machine in machine_of.items()}
    roof_sets = list(dict.fromkeys(roofs_of.values()))
    columns = run_table.filled(rows["runs"])
    # Names are shortened here and not in the browser, so that pages and notebooks agree.
    kernels = dict.fromkeys(gathered.launch_groups["kernel"])
    return {
        **marks.page_style(),
        "entries": bars.ENTRIES,
        "plain": layout(300, xaxis=axis(""), yaxis=axis("")),
        "runs": _runs(rows["runs"], columns, groups, {key: roof_sets.index(own) for key, own in roofs_of.items()}),
        "run_columns": [
            {"key": column.key, "title": column.title, "setting": column.setting, "numeric": column.numeric}
            for column in columns
        ],
        "machines": [_frames(machine) for machine, _ in groups],
        "roofs": [[dict(zip(ROOF, roof, strict=True)) for roof in own] for own in roof_sets],
        "bins": gathered.bins,
        "sql": {name: queries.text(name) for name in STATEMENTS},
        "templates": {name: queries.text(f"panels/{name}") for name in TEMPLATES},
        "short": {name: shorten(name) for name in kernels if name},
        # A run has one mode and one execution: the browser takes them from its run.
        "launch_groups": coded({k: v for k, v in gathered.launch_groups.items() if k not in ("mode", "execution")}),
        **{name: rows[name] for name in ("ledger", "step_diagnosis", "steps", "warnings")},
        "verdict": rounded(rows["verdict"], VERDICT_DIGITS),
    }


def _runs(
    runs: list[Row],
    columns: list[run_table.Column],
    groups: list[tuple[Machine, list[str]]],
    roof_set: dict[str, int],
) -> list[Row]:
    """Return each run with the index of its machine, the index of its roofs, and the columns of the list of runs."""
    group_of = {run_id: i for i, (_, run_ids) in enumerate(groups) for run_id in run_ids}
    kept = dict.fromkeys([*RUN, *(column.key for column in columns)])
    return [
        {
            "id": run["run_id"],
            "machine": group_of[run["run_id"]],
            "on_cpu": run["device_kind"] == "cpu",
            "roofs": roof_set[run["run_id"]],
            **{key: run[key] for key in kept},
        }
        for run in runs
    ]


def _frames(machine: Machine) -> Row:
    """Return the axes and layouts of the figures of a device."""
    return {
        "device": machine.device,
        "has_roofs": bool(machine.roofs),
        "frame": asdict(machine.frame),
        "roofline": roofs.skeleton(machine)["layout"] | {"annotations": []},
        "lane": roofs.lane(machine, list(families.COLORS))["layout"] | {"annotations": [], "shapes": []},
    }


def sections(gathered: Gathered) -> dict[str, Row]:
    """Return by panel the large tables that the page unpacks only after its first figure, by column.

    The timelines are unpacked when their panel first comes into sight.
    """
    own: dict[str, Row] = {"timeline": gathered.timeline}
    for name in ("timings", "telemetry"):
        rows = gathered.rows[name]
        own[name] = coded({column: [row[column] for row in rows] for column in (rows[0] if rows else ())})
    return own


def _machines(rows: dict[str, list[Row]]) -> dict[str, Machine]:
    ceilings = queries.by_column(rows["ceilings"], "run_id")
    return {run["run_id"]: Machine.of(device_name(run), ceilings.get(run["run_id"], [])) for run in rows["runs"]}


def _roofs(machine: Machine) -> tuple[tuple[Any, ...], ...]:
    own = (roof for roof in machine.roofs if roof.level != "link" and roof.value > 0)
    return tuple(tuple(getattr(roof, name) for name in ROOF) for roof in own)


def _groups(runs: Sequence[Row], machine_of: dict[str, Machine]) -> list[tuple[Machine, list[str]]]:
    """Group runs that can share a roofline: of one device, with ceilings in the same decades.

    A group's machine is that of its longest run. It gives the axes, which all runs of the group have in common.
    """
    groups: dict[Any, tuple[Machine, list[str]]] = {}
    for run in sorted(runs, key=lambda run: -(run["device_time_ns"] or 0)):
        machine = machine_of[run["run_id"]]
        key = (machine.device, machine.frame, bool(machine.roofs))
        groups.setdefault(key, (machine, []))[1].append(run["run_id"])
    return list(groups.values())
