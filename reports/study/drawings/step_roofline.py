"""Draw steps under the roofs of their device."""

from collections.abc import Sequence

from ridgeline.reports.figures import roofs
from ridgeline.reports.figures.layout import Spec, scatter, tooltips
from ridgeline.reports.figures.machine import Machine
from ridgeline.reports.formatting import digits, duration, si
from ridgeline.reports.names import escape, hover_text
from ridgeline.reports.queries import Row
from ridgeline.reports.study.drawings import sentences
from ridgeline.reports.study.drawings.lines import LEGEND
from ridgeline.reports.study.drawings.panels import Drawing, Panel, panels
from ridgeline.reports.study.drawings.settings import MODES, SETTINGS, color, in_all, legend, symbol

# The suffix of a symbol for each execution; compiled runs have full symbols.
FILLS = {"eager": "-open", "cuda_graph": "-open-dot"}


def roofline(rows: Sequence[Row], marks: Sequence[Row], machines: dict[str, Machine]) -> list[Panel]:
    """E4: draw every kind of step under the device's roofs; the area is the unprofiled time of the step."""

    def draw(own: list[Row]) -> Drawing:
        machine = machines.get(own[0]["device"], Machine(own[0]["device"], ()))
        used = {(unit, row["dtype"]) for row in own for unit in ("tensor", "vector")}
        spec = roofs.skeleton(machine, used)
        horizontal = {"orientation": "h", "y": -0.14, "yanchor": "top", "itemsizing": "constant"}
        spec["layout"] |= {"showlegend": True, "legend": LEGEND | horizontal}
        for trace in spec["data"]:
            trace["showlegend"] = False
        # One scale for all modes; with sizemode area, the largest mark is 26 pixels wide.
        sizeref = 2 * max(row["step_ns"] for row in own) / 26**2
        for mode in [*MODES, *sorted({row["mode"] for row in own} - MODES.keys())]:
            steps = [row for row in own if row["mode"] == mode]
            spec["data"] += [_steps(mode, steps, sizeref)] if steps else []
        executions = "Open marks are eager runs, dotted marks replayed graphs, full marks compiled runs."
        return spec, sentences.roofline(own), [legend(own), executions, in_all(own, SETTINGS)]

    return panels(rows, ["device", "batch", "prompt_tokens"], draw)


def _steps(mode: str, rows: Sequence[Row], sizeref: float) -> Spec:
    # The largest marks first, so that they do not cover the others.
    rows = sorted(rows, key=lambda row: -row["step_ns"])
    text = []
    for row in rows:
        floor = f"at the roofs {duration(row['floor_ns'])} by closed form" if row["floor_ns"] else "no closed form"
        text.append(
            hover_text(
                row["name"],
                f"{row['kind']}: {duration(row['step_ns'])} unprofiled, {floor}",
                f"{si(row['flops'], 'FLOP')}, {si(row['dram_bytes'], 'B')} ({row['bytes_source']})",
                f"{digits(row['intensity'])} FLOP/B, {si(row['achieved_flops_per_s'], 'FLOP/s')}",
            )
        )
    symbols = [symbol(row["kind"]) + FILLS.get(row["execution"], "") for row in rows]
    area = {"size": [row["step_ns"] for row in rows], "sizemode": "area", "sizeref": sizeref, "sizemin": 5}
    marker = {"color": color(mode), "symbol": symbols, **area, "opacity": 0.9, "line": {"width": 1.6}}
    x = [row["intensity"] for row in rows]
    y = [row["achieved_flops_per_s"] for row in rows]
    return scatter("markers", x, y, name=escape(mode), marker=marker, **tooltips(text))
