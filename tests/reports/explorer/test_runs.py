"""The list of runs at the side of the roofline, the focus of the keyboard, and saved pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import ridgeline
from ridgeline import reports
from tests.reports.browser import Ask, in_a_browser

TOUR = Path(__file__).parents[1].joinpath("runs.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def answer(report: Path, ask: Ask) -> dict[str, Any]:
    return ask(report, TOUR, (1400, 900))


@in_a_browser
def test_opens_and_answers_without_errors(answer: dict[str, Any]) -> None:
    assert answer["errors"] == []
    assert answer["images"] == 0


@in_a_browser
def test_lists_every_run_by_device(answer: dict[str, Any]) -> None:
    assert answer["names"] == ["decode_b1", "decode_b2", "decode_b512", "laptop"]
    assert answer["titles"] == ["decode_b1", "decode_b2", "decode_b512\nwanted 90 GB of 80 GB", "laptop"]
    assert answer["values"] == ["5.5 µs", "1 µs", "oom", "700 ns"]
    assert answer["devices"] == ["Test Device", "CPU"]
    assert answer["all"] == "choose all 3 on Test Device"


@in_a_browser
def test_the_list_is_filtered_by_text_and_settings(answer: dict[str, Any]) -> None:
    """Words that all names share are left out, whole words only."""
    assert answer["found"] == [["b1", "b2", "b512"], "3 of 4", ""]
    assert answer["nothing"] == [[], "0 of 4", "1 chosen run not listed"]
    assert answer["settings"] == ["device", "batch"]
    assert answer["batches"] == ["all", "– (3)", "512 (1)"]
    assert answer["filtered"] == [["decode_b512"], "batch 512"]


@in_a_browser
def test_the_list_is_sorted_within_a_device(answer: dict[str, Any]) -> None:
    assert answer["sorted"] == ["decode_b1", "decode_b2", "decode_b512", "laptop"]


@in_a_browser
def test_keys_move_switch_and_add_and_keep_the_focus(answer: dict[str, Any]) -> None:
    assert answer["moved"] == [["decode_b1"], "run-aaaa000000000002"]
    assert answer["entered"] == [["decode_b2"], "run-options"]
    assert answer["added"][:2] == [["decode_b1", "decode_b2"], "run-options"]
    assert answer["added"][2:] == ["2 runs", "one point per kernel and shape; area is total time"]
    assert answer["removed"] == ["decode_b1"]
    assert answer["device"] == ["laptop"]


@in_a_browser
def test_the_focus_stays_on_its_item(answer: dict[str, Any]) -> None:
    assert answer["legend"] == ["matmul", True]
    assert answer["row"] == ["TR", True, True, "gemm_kernel ×"]
    assert answer["closed"] == [True, "TR", True]  # the details, by their button


@in_a_browser
def test_escape_resets_and_scrolls_nothing(answer: dict[str, Any]) -> None:
    assert answer["escaped"] == [True, True, "", 0]


@in_a_browser
def test_a_saved_picture_says_what_it_shows(answer: dict[str, Any]) -> None:
    title, above, beneath = answer["picture"]
    assert title == "Roofline"
    assert above.startswith("decode_b1 on Test Device<br>")
    assert "●</span> matmul" in above
    assert beneath == f"Ridgeline {ridgeline.__version__} · w.duckdb · phase decode · reuse"
    assert answer["size"] == ["svg", "decode_b1-roofline", 110, True]


def test_one_run_needs_no_list(filled: Path, tmp_path: Path) -> None:
    page = reports.write(filled, tmp_path, ["laptop"]).read_text(encoding="utf-8")
    assert 'id="run-list"' not in page
    assert '<div class="first">' in page
