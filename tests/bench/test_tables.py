from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.bench import tables, traces
from tests.bench.tables import COLD, HTA, WARM, Row


def row(name: str, megabytes: float, cold: float, warm: float, hta: float | None) -> Row:
    runs = {COLD: [cold + 1, cold], WARM: [warm], **({HTA: [hta]} if hta else {})}
    errors = {} if hta else {HTA: "KeyError: 'stream'"}
    file = traces.File(name, Path(name), megabytes, 1234)
    return Row(file, 5, runs, {COLD: 200.0, WARM: 300.0, HTA: 400.0}, errors)


ROWS = [row("small", 0.5, 1.0, 0.5, 0.25), row("large", 12, 2.0, 1.0, 8.0), row("odd", 40, 4.0, 2.0, None)]


def test_a_row_has_the_best_runs_and_marks_where_hta_is_faster() -> None:
    assert [each.cells() for each in ROWS] == [
        ["small", "0.5", "1,234", "5", "1.00", "0.50", "0.25", "0.25 ◀ slower", "0.50 ◀ slower", "300", "400"],
        ["large", "12", "1,234", "5", "2.00", "1.00", "8.00", "4.0", "8.0", "300", "400"],
        ["odd", "40", "1,234", "5", "4.00", "2.00", "fails: KeyError: 'stream'", "", "", "300", "400"],
    ]


def test_means_are_geometric_and_leave_out_what_hta_cannot_load() -> None:
    lines = tables.summary(ROWS).splitlines()
    assert [line.partition(" in the geometric mean, ")[::2] for line in lines[:3:2]] == [
        (
            "- ridgeline, first sight, all traces that HTA loads (2): HTA's load takes 1.0 times as long",
            "0.2 to 4.0 times; slower than HTA on 1.",
        ),
        (
            "- ridgeline, first sight, those above 10 MB (1): HTA's load takes 4.0 times as long",
            "4.0 to 4.0 times; slower than HTA on 0.",
        ),
    ]
    assert lines[4] == "- HTA cannot load 1 of 3 traces."


def test_json_has_a_record_for_each_tool() -> None:
    records = [record for each in ROWS for record in each.records()]
    assert [(r["trace"], r["tool"], r["seconds"], r["times_hta"], r["error"]) for r in records[3:]] == [
        ("large", COLD, 2.0, 4.0, None),
        ("large", WARM, 1.0, 8.0, None),
        ("large", HTA, 8.0, 1.0, None),
        ("odd", COLD, 4.0, None, None),
        ("odd", WARM, 2.0, None, None),
        ("odd", HTA, None, None, "KeyError: 'stream'"),
    ]


def test_a_page_keeps_what_stands_around_its_tables(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- bench: real -->\nold\n<!-- end -->\nb\n<!-- bench: memory -->\nm\n<!-- end -->\n")
    tables.fill(page, {"real": tables.markdown(("trace", "MB"), [("<x|y>", "1\\0")]), "absent": "c"})
    table = "| trace | MB |\n| --- | ---: |\n| &lt;x¦y> | 1\\0 |"
    assert page.read_text() == (
        f"a\n<!-- bench: real -->\n{table}\n<!-- end -->\nb\n<!-- bench: memory -->\nm\n<!-- end -->\n"
    )


@pytest.mark.parametrize(
    ("page", "parts"), [("README.md", ["sentence"]), ("tests/README.md", ["machine", "real", "generated", "memory"])]
)
def test_pages_have_a_place_for_every_part_that_is_measured(page: str, parts: list[str]) -> None:
    text = (traces.ROOT / page).read_text()
    assert re.findall(r"<!-- bench: (\w+) -->\n(?:[^<]*\n)?<!-- end -->", text) == parts


def test_each_content_is_measured_once_with_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "AT_HAND", (tmp_path / "none",))
    text = '{"traceEvents": [{"ph": "X"}, {"ph": "M"}]}'
    for name in ("a.json", "b.json", "a.twin.json", "other.json"):
        (tmp_path / name).write_text("{}" if name == "other.json" else text)
    (file,) = traces.at_hand([tmp_path])
    assert (file.path.name, file.megabytes, file.events) == ("a.json", len(text) / 1e6, 2)
