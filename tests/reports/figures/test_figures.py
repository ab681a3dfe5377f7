from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ridgeline import reports, warehouse
from ridgeline.reports.figures import roofs
from ridgeline.reports.figures.labels import Capsule, is_clear
from ridgeline.reports.figures.labels import label as text_at
from ridgeline.reports.figures.machine import NO_ROOFS, Machine
from ridgeline.reports.figures.marks import hover
from ridgeline.reports.figures.placement import placed
from ridgeline.reports.queries import rows
from ridgeline.warehouse import SelectionError
from tests.reports import rich

RUN = "decode_b1"


def traces(figure: Any) -> dict[str, Any]:
    return {trace.name: trace for trace in figure.data}


def notes(figure: Any, name: str) -> list[str]:
    return [note.text for note in figure.layout.annotations if note.name == name]


def test_roofline_has_the_machines_roofs_and_the_runs_points(connection: duckdb.DuckDBPyConnection) -> None:
    figure = reports.roofline(connection, RUN)
    found = traces(figure)
    assert list(found) == [
        "DRAM 1 TB/s, measured",
        "bf16 tensor 100 TFLOP/s, measured",
        "fp32 vector 10 TFLOP/s, measured",
        "ridge points",
        "matmul",
        "pointwise",
    ]
    assert (list(found["matmul"].x), list(found["matmul"].y), list(found["matmul"].marker.size)) == (
        [50.0],
        [5e13],
        [4000],
    )
    assert list(found["DRAM 1 TB/s, measured"].x) == pytest.approx([0.01, 100])
    assert list(found["DRAM 1 TB/s, measured"].y) == pytest.approx([1e10, 1e14])
    assert list(found["bf16 tensor 100 TFLOP/s, measured"].x) == [100, 10000]
    assert notes(figure, "end") == ["bf16 tensor 100 TFLOP/s, measured", "fp32 vector 10 TFLOP/s, measured"]


def test_ridge_points_have_their_intensity_and_axes_have_minor_ticks(connection: duckdb.DuckDBPyConnection) -> None:
    figure = reports.roofline(connection, RUN)
    ridges = traces(figure)["ridge points"]
    assert (list(ridges.x), list(ridges.y)) == ([100.0, 10.0], [1e14, 1e13])
    assert notes(figure, "ridge") == ["100 FLOP/B", "10 FLOP/B"]
    assert list(figure.layout.xaxis.minor.tickvals)[:9] == pytest.approx(
        [0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.2]
    )


def test_out_of_frame_points_are_badged(connection: duckdb.DuckDBPyConnection) -> None:
    figure = reports.roofline(connection, RUN)
    assert notes(figure, "badge") == ["▼ 1 off the frame"]
    assert list(traces(figure)["pointwise"].marker.symbol) == ["triangle-down"]
    assert notes(reports.roofline(connection, "decode_b2"), "badge") == []


def test_axes_follow_from_the_machine_not_from_the_data(connection: duckdb.DuckDBPyConnection) -> None:
    one, other = (reports.roofline(connection, run).layout for run in (RUN, "decode_b2"))
    assert one.xaxis.range == other.xaxis.range == (-2, 4)
    assert one.yaxis.range == other.yaxis.range == (9, 15)


def test_bandwidth_lane(connection: duckdb.DuckDBPyConnection) -> None:
    figure = reports.bandwidth(connection, RUN)
    assert (list(figure.data[0].x), list(figure.data[0].y)) == ([4e11], ["copy"])
    assert figure.layout.shapes[0].x0 == 1e12
    assert figure.layout.xaxis.range == (7, 13)


@pytest.mark.parametrize(
    ("plot", "bars"),
    [
        (reports.time_by_family, {"matmul": 4000, "pointwise": 600, "copy": 500, "other": 400}),
        (reports.time_by_phase, {"decode": 5100, "no phase": 400}),
        (reports.time_by_module, {"model.layers.*.mlp.up_proj": 4000, "model": 1100, "no module": 400}),
        (reports.time_lost, {"aten::add.Tensor": 600, "aten::copy_": 300, "without a known roof": 400}),
        (reports.ledger, {"decode_b1 · attribution": 5500, "decode_b1 · price": 5500}),
    ],
)
def test_bars_sum_to_the_time(connection: duckdb.DuckDBPyConnection, plot: Any, bars: dict[str, int]) -> None:
    found: dict[str, float] = {}
    for trace in plot(connection, RUN).data:
        for label, seconds in zip(trace.y, trace.x, strict=True):
            found[label] = found.get(label, 0) + seconds * 1e9
    assert found == pytest.approx(bars, abs=0.5)


def test_hover_escapes_names(connection: duckdb.DuckDBPyConnection) -> None:
    points = placed(rows(connection, "kernel_shapes", runs=["aaaa000000000001"]), Machine("", ()).frame)
    hostile = next(point for point in points if point["attribution"] == "unattributed")
    assert hover(hostile).startswith(
        "&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;<br>unattributed<br>1 launch, 400 ns"
    )


def test_hover_keeps_the_nearest_roof_from_the_bound(connection: duckdb.DuckDBPyConnection) -> None:
    """2,000 of 2,000 ns is bound by DRAM; 200 of 500 ns is nearest to it, and too short (launch floor: 200 ns)."""
    points = rows(connection, "kernel_shapes", runs=["aaaa000000000001"])
    assert {p["family"]: (p["nearest_roof"], p["bound"], p["basis"]) for p in points} == {
        "matmul": ("dram", "dram", "roof"),
        "copy": ("dram", "latency", "roof"),
        "pointwise": ("dram", "latency", "roof"),
        "other": ("none", "none", "no roof"),
    }
    copy = next(point for point in placed(points, Machine("", ()).frame) if point["family"] == "copy")
    assert "40 % of its roof (dram); bound by latency" in hover(copy)


def test_hover_says_of_how_many_launches_a_diagnosis_is(stocked: Path) -> None:
    """One of two launches moved 2.6 MB in 2,100 ns at 1.2 TB/s."""
    with closing(warehouse.connect(stocked, read_only=True)) as connection:
        points = rows(connection, "kernel_shapes", runs=[rich.RUN])
    (prefill, decode) = (p["diagnosis"] for p in points if p["family"] == "matmul")
    assert prefill == "1 of 2 launches: above its bandwidth by at most 5 %: within the spread of measurements"
    assert decode is None


def test_time_that_no_roof_judges_is_hatched(connection: duckdb.DuckDBPyConnection) -> None:
    hatched = {trace.name for trace in reports.time_lost(connection, RUN).data if trace.marker.pattern.shape}
    assert hatched == {"in no total"}


def test_unknown_run(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(SelectionError, match="no such run"):
        reports.roofline(connection, "nothing")


def ceiling(value: float, **more: Any) -> dict[str, Any]:
    row = {"resource": "compute", "level": None, "unit": "tensor", "precision": "bf16", "unit_of_value": "FLOP/s"}
    return {**row, "value": value, "source": "datasheet", "method": None, "measured_on": None, **more}


def test_roofs_of_one_value_are_one() -> None:
    dram = ceiling(1e12, resource="bandwidth", level="dram", unit=None, precision=None)
    machine = Machine.of("x", [dram, ceiling(1e15), ceiling(1e15, precision="fp16"), ceiling(9e14, source="measured")])
    names = [trace["name"] for trace in roofs.skeleton(machine)["data"]]
    assert names == [
        "DRAM 1 TB/s, datasheet",
        "bf16/fp16 tensor 1 PFLOP/s, datasheet",
        "bf16 tensor 900 TFLOP/s, measured",
        "ridge points",
    ]


def test_end_labels_never_touch() -> None:
    dram = ceiling(1e12, resource="bandwidth", level="dram", unit=None, precision=None)
    machine = Machine.of("x", [dram, *(ceiling(1e15 + i * 1e12, precision=f"p{i}") for i in range(6))])
    scale = (roofs.HEIGHT - roofs.MARGIN["t"] - roofs.MARGIN["b"]) / (
        machine.frame.flops_per_s[1] - machine.frame.flops_per_s[0]
    )
    ends = [note for note in roofs.skeleton(machine)["layout"]["annotations"] if note["name"] == "end"]
    heights = [note["y"] * scale + note["yshift"] for note in ends]
    assert all(above - below >= roofs.LABEL_GAP - 1e-6 for above, below in pairwise(heights))


def test_a_machine_without_ceilings_has_a_general_frame() -> None:
    assert Machine("x", ()).frame == NO_ROOFS
    assert roofs.skeleton(Machine("x", ()))["data"] == []


def test_importing_reports_is_cheap() -> None:
    code = "import sys, ridgeline.reports; print(sorted({'plotly', 'duckdb', 'jinja2', 'polars'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def three_memory_roofs(l2_bytes_per_s: float = 5e12) -> Machine:
    dram = ceiling(1e12, resource="bandwidth", level="dram", unit=None, precision=None)
    l2 = ceiling(l2_bytes_per_s, resource="bandwidth", level="l2", unit=None, precision=None)
    return Machine.of("x", [dram, dram | {"value": 9e11, "source": "measured"}, l2, ceiling(1e15)])


def slopes(spec: Any) -> list[tuple[str, str, bool]]:
    found = [note for note in spec["layout"]["annotations"] if "slope" in note["name"]]
    return [(note["text"], note["name"], note["yshift"] > 0) for note in found]


def test_a_level_has_one_label_above_its_roofs_and_the_slowest_beneath() -> None:
    assert slopes(roofs.skeleton(three_memory_roofs())) == [
        ("L2 5 TB/s, datasheet", "slope above", True),
        ("DRAM 900 GB/s, measured; 1 TB/s, datasheet", "slope below", False),
    ]


def test_labels_of_roofs_avoid_points() -> None:
    """Points beneath the DRAM roofs leave room for a shorter label, then for none, and it lies above the roofs."""
    beneath = [(10 ** (i / 10), 10 ** (i / 10) * 7e11, 8.0) for i in range(-20, 31)]
    few = [disc for disc in beneath if not 1 < disc[0] < 16]
    assert slopes(roofs.skeleton(three_memory_roofs(1.3e12), None, few))[1] == (
        ("DRAM 900 GB/s, measured", "slope below", False)
    )
    assert slopes(roofs.skeleton(three_memory_roofs(), None, beneath))[1] == (
        ("DRAM 900 GB/s, measured; 1 TB/s, datasheet", "slope above", True)
    )


def test_a_label_is_clear_at_the_distance_of_both_radii_and_the_gap() -> None:
    text = text_at(100, 100, "ten signs.")
    assert (text.x0, text.x1, text.radius) == (70.5, 129.5, 6.5)
    beside = [Capsule(140, 100, 140, 100, radius) for radius in (3.0, 3.1)]
    assert [is_clear(text, [disc]) for disc in beside] == [True, False]
    assert not is_clear(text, [Capsule(100, 0, 101, 300, 0.5)])
    assert is_clear(text, [Capsule(0, 108.2, 300, 108.2, 0.6)])
