"""A comparison as Markdown for a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from ridgeline import warehouse
from ridgeline.reports.comparison.compare import Comparison, compare
from ridgeline.reports.comparison.markdown import code, escape, markdown
from tests.reports.conftest import HOSTILE


@pytest.fixture(scope="module")
def runs(compared: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with closing(warehouse.connect(compared, read_only=True)) as connection:
        yield connection


@pytest.fixture(scope="module")
def before_after(runs: duckdb.DuckDBPyConnection) -> Comparison:
    return compare(runs, "before", "after")


def test_the_verdict_comes_first_and_what_changed_most_with_its_evidence(before_after: Comparison) -> None:
    lines = markdown(before_after).splitlines()
    assert lines[0].startswith("**`decode`: 24.9 % slower, 20.1 µs to 25.1 µs unprofiled (noise ±6.98 %)")
    assert lines[2] == "`before` → `after`"
    (gemm,) = [line for line in lines if "`aten::mm`" in line]
    assert gemm.startswith(
        "| `decode` | `aten::mm` | 2.02 µs | 3.02 µs | +1 µs | +49.5 % | ±13.9 % | slower | other kernels, further "
        "from the "
        "roof; of the roof 198 % before, 132 % after; both: "
    )
    assert re.findall("<summary>(.*?)</summary>", markdown(before_after)) == ["Whole steps", "Settings that differ"]
    # GitHub reads the Markdown inside a fold only after an empty line.
    assert all(lines[i + 1] == "" for i, line in enumerate(lines) if line.startswith("<details>"))


def test_every_row_has_the_cells_of_its_table(runs: duckdb.DuckDBPyConnection) -> None:
    """As GitHub splits it: a backslash escapes the character after it."""
    for name in ("hostile", "after"):
        rows = [line for line in markdown(compare(runs, name, "before")).splitlines() if line.startswith("|")]
        widths = [len(re.sub(r"\\.", "", row).split("|")) for row in rows]
        assert set(widths) == {5, 10, 11}


def test_warnings_are_an_alert(runs: duckdb.DuckDBPyConnection) -> None:
    text = markdown(compare(runs, "single", "elsewhere"))
    assert "> [!WARNING]\n> - devices differ: Test Device and Other Device\n" in text
    assert "[!WARNING]" not in markdown(compare(runs, "before", "after"))


def test_markup_in_names_is_text(runs: duckdb.DuckDBPyConnection) -> None:
    text = markdown(compare(runs, "hostile", "before"))
    assert HOSTILE in text
    assert HOSTILE not in re.sub(r"`[^`\n]*`", "", text)
    assert "<img" not in re.sub(r"`[^`\n]*`", "", text)


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("a|b", r"`a\|b`"),
        ("a\\|b", r"`a\\\|b`"),
        ("`x`", "`'x'`"),
        ("a\n| b", r"`a \| b`"),
        ("", "` `"),
    ],
)
def test_a_name_stays_in_its_cell(name: str, cell: str) -> None:
    assert code(name) == cell


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("<details>", "&lt;details&gt;"),
        ("a | b", "a &#124; b"),
        ("**x** [y](z)", "&#42;&#42;x&#42;&#42; &#91;y&#93;(z)"),
        ("@team fixes #12", "@\u200bteam fixes #\u200b12"),
        ("&#64;", "&amp;#\u200b64;"),
    ],
)
def test_a_sentence_has_no_markup(text: str, escaped: str) -> None:
    assert escape(text) == escaped


def test_a_comment_fits_whatever_the_names(before_after: Comparison) -> None:
    """GitHub refuses a comment of more than 65,536 characters."""
    long = [
        {**row, "operator": f"{i}{'|*' * 300}", "stage": "decode", "why": "*" * 900, "status": "slower"}
        for i in range(400)
        for row in before_after.level("operator")[:1]
    ]
    rows = [row for row in before_after.rows if row["level"] != "operator"] + long
    whole = [{**row, "stage": "|" * 200} for row in before_after.level("unprofiled")] * 400
    text = markdown(replace(before_after, rows=rows + whole))
    assert text.startswith("**`decode`: ")
    assert 20_000 < len(text) < 65_536
    assert text.count("<details>") == text.count("</details>")
