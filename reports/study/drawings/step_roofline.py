"""Steps under the roofs of their device."""

from __future__ import annotations

from collections.abc import Sequence

from ridgeline.reports import units
from ridgeline.reports.figures import roofs
from ridgeline.reports.figures.layout import Spec
from ridgeline.reports.figures.machine import Machine
from ridgeline.reports.names import escape
from ridgeline.reports.queries import Row
from ridgeline.reports.study.drawings.kinds import legend, mark
from ridgeline.reports.study.drawings.series import LEGEND, MODES, Panel, color, in_all, panels
from ridgeline.reports.study.drawings.settings import SETTINGS, hover

FILLS = {"eager": "-open", "cuda_graph": "-open-dot"}
"""How a mark says the execution; a full one is compiled."""


def roofline(rows: Sequence[Row], marks: Sequence[Row], machines: dict[str, Machine]) -> list[Panel]:
    """E4: every kind of step under the device's roofs; area is the unprofiled time of the step."""

    def draw(own: list[Row]) -> tuple[Spec, list[str]]:
        machine = machines.get(own[0]["device"], Machine(own[0]["device"], ()))
        used = {(unit, row["dtype"]) for row in own for unit in ("tensor", "vector")}
        spec = roofs.skeleton(machine, used)
        spec["layout"] |= {
            "showlegend": True,
            "legend": LEGEND | {"orientation": "h", "y": -0.14, "yanchor": "top", "itemsizing": "constant"},
        }
        for trace in spec["data"]:
            trace["showlegend"] = False
        largest = 2 * max(row["step_ns"] for row in own) / 26**2
        modes = [*MODES, *sorted({row["mode"] for row in own} - MODES.keys())]
        spec["data"] += [
            _steps_on_roof(mode, rows, largest)
            for mode in modes
            if (rows := [row for row in own if row["mode"] == mode])
        ]
        return spec, [
            legend(own),
            "Open marks are eager, dotted ones replayed graphs, full ones compiled.",
            in_all(own, SETTINGS),
        ]

    return panels(rows, ["device", "batch", "prompt_tokens"], draw)


def _steps_on_roof(mode: str, rows: Sequence[Row], sizeref: float) -> Spec:
    rows = sorted(rows, key=lambda row: -row["step_ns"])
    return {
        "type": "scatter",
        "mode": "markers",
        "name": escape(mode),
        "x": [row["intensity"] for row in rows],
        "y": [row["achieved_flops_per_s"] for row in rows],
        "marker": {
            "color": color(mode),
            "symbol": [mark(row["kind"]) + FILLS.get(row["execution"], "") for row in rows],
            "size": [row["step_ns"] for row in rows],
            "sizemode": "area",
            "sizeref": sizeref,
            "sizemin": 5,
            "opacity": 0.85,
            "line": {"width": 1.6},
        },
        "text": [_step_hover(row) for row in rows],
        "hovertemplate": "%{text}<extra></extra>",
    }


def _step_hover(row: Row) -> str:
    floor = f"at the roofs {units.duration(row['floor_ns'])} by closed form" if row["floor_ns"] else "no closed form"
    return hover(
        row["name"],
        f"{row['kind']}: {units.duration(row['step_ns'])} unprofiled, {floor}",
        f"{units.si(row['flops'], 'FLOP')}, {units.si(row['dram_bytes'], 'B')} ({row['bytes_source']})",
        f"{units.digits(row['intensity'])} FLOP/B, {units.si(row['achieved_flops_per_s'], 'FLOP/s')}",
    )
