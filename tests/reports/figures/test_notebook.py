"""Figures of notebooks: titles, legends and sources, of one run and of several."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest

import ridgeline
from ridgeline import reports
from ridgeline.reports.figures import bars, notebook
from ridgeline.warehouse import SelectionError
from tests.reports.conftest import HOSTILE

BOTH = ["decode_b1", "decode_b2"]


def subtitle(figure: Any) -> str:
    return str(figure.layout.title.subtitle.text)


def test_a_figure_has_a_title_and_its_source(connection: duckdb.DuckDBPyConnection) -> None:
    figure = reports.roofline(connection, "decode_b1")
    assert figure.layout.title.text == "<b>Roofline: decode_b1 on Test Device</b>"
    assert subtitle(figure) == (
        f"Ridgeline {ridgeline.__version__}, run aaaa000000000001; DRAM bytes: compulsory, none; roofs: measured"
    )
    assert figure.layout.xaxis.title.text == "arithmetic intensity, FLOP per byte of DRAM traffic"
    bare = reports.roofline(connection, "laptop")
    assert subtitle(bare).endswith("roofs: none known, ridgeline ceilings measures them")


def test_the_legend_has_families_and_no_roofs(connection: duckdb.DuckDBPyConnection) -> None:
    figure = reports.roofline(connection, "decode_b1")
    assert figure.layout.showlegend
    assert [trace.name for trace in figure.data if trace.showlegend] == ["matmul", "pointwise"]
    families = reports.time_by_family(connection, "decode_b1")
    assert {trace.name for trace in families.data if trace.showlegend} == {"matmul", "pointwise", "copy", "other"}
    assert families.layout.xaxis.title.text == "device time"


@pytest.mark.parametrize("runs", [BOTH, "decode_b?", ["aaaa000000000001", "aaaa000000000002"]])
def test_several_runs_lie_in_one_figure_each_with_a_symbol(connection: duckdb.DuckDBPyConnection, runs: Any) -> None:
    """The area is on one scale, so that a mark of one run compares with a mark of another."""
    figure = reports.roofline(connection, runs)
    products = [trace for trace in figure.data if trace.name == "matmul"]
    assert [(trace.legendgrouptitle.text, trace.marker.symbol) for trace in products] == [
        ("● decode_b1", ("circle",)),
        ("◆ decode_b2", ("diamond",)),
    ]
    assert products[0].marker.sizeref == products[1].marker.sizeref
    assert products[1].text[0].startswith("decode_b2<br>")
    assert figure.layout.title.text == "<b>Roofline: decode_b1, decode_b2 on Test Device</b>"
    assert "roofs: measured, the highest of 2 runs" in subtitle(figure).replace("<br>", " ")


def test_bars_of_several_runs_name_them(connection: duckdb.DuckDBPyConnection) -> None:
    def lengths(figure: Any) -> dict[str, int]:
        totals: dict[str, int] = {}
        for trace in figure.data:
            for label, seconds in zip(trace.y, trace.x, strict=True):
                totals[label] = totals.get(label, 0) + round(seconds * 1e9)
        return totals

    assert lengths(reports.time_by_family(connection, BOTH)) == {"decode_b1": 5500, "decode_b2": 1000}
    assert lengths(reports.time_by_phase(connection, BOTH)) == {
        "decode · decode_b1": 5100,
        "no phase · decode_b1": 400,
        "decode · decode_b2": 1000,
    }
    assert lengths(reports.ledger(connection, BOTH)) == {
        **dict.fromkeys(["decode_b1 · attribution", "decode_b1 · price"], 5500),
        **dict.fromkeys(["decode_b2 · attribution", "decode_b2 · price"], 1000),
    }


def test_long_labels_that_differ_in_the_middle_stay_two_bars() -> None:
    labels = [f"llada-8b_dlm_block_dual_p1024_{middle}_b1_block32_k128_bf16_cuda_graph" for middle in ("g128", "g512")]
    spec = bars.stacked((label, "matmul", ns) for label, ns in zip(labels, (2, 1), strict=True))
    assert spec["data"][0]["y"] == labels


def test_every_figure_draws_several_runs_and_exports(connection: duckdb.DuckDBPyConnection) -> None:
    for name in ("bandwidth", "time_lost", "time_by_module"):
        page = getattr(reports, name)(connection, BOTH).to_html(include_plotlyjs=False)
        assert "decode_b1, decode_b2 on Test Device" in page


def test_many_runs_are_counted_in_the_title_and_named_beneath() -> None:
    runs = [notebook.Run(f"{i:016x}", f"run_{i}_{'x' * 20}", "D") for i in range(10)]
    assert notebook.title("Roofline", runs) == "Roofline: 10 runs on D"
    assert notebook.source(runs).endswith(f"run_7_{'x' * 20} (000000), 2 more")


def test_runs_of_one_name_stay_apart(connection: duckdb.DuckDBPyConnection) -> None:
    twice = duckdb.connect()
    twice.execute(
        "CREATE TABLE runs AS SELECT 'b' || i AS run_id, 'same' AS name, '' AS experiment, 'D' AS device,"
        " 'cuda' AS device_kind FROM range(2) t (i)"
    )
    assert [run.name for run in notebook.selected(twice, "*")] == ["same (b0)", "same (b1)"]


def test_a_title_is_text() -> None:
    spec = {"data": [], "layout": {"height": 100, "margin": {"t": 0, "b": 0}}}
    figure = notebook.figure(spec, HOSTILE, [HOSTILE])
    assert "<img" not in figure.to_html(include_plotlyjs=False)


def test_unknown_among_several(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(SelectionError, match="nothing: no such run"):
        reports.roofline(connection, ["decode_b1", "nothing"])
