from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import reports
import warehouse
from reports.document import encode

HOSTILE = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def page(filled: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return reports.write(filled, tmp_path_factory.mktemp("report")).read_text(encoding="utf-8")


def data(page: str) -> dict[str, Any]:
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.S)
    assert found
    decoded: dict[str, Any] = json.loads(found[1])
    return decoded


def rows(columns: dict[str, Any]) -> list[dict[str, Any]]:
    """What the page's `decode` does."""

    def values(column: Any) -> list[Any]:
        if isinstance(column, list):
            return column
        return [None if code < 0 else column["values"][code] for code in column["codes"]]

    return [dict(zip(columns, row, strict=True)) for row in zip(*map(values, columns.values()), strict=True)]


def test_points_hold_exact_values(page: str) -> None:
    points = [row for row in rows(data(page)["points"]) if row["run_id"] == "aaaa000000000001"]
    assert [(p["short"], p["duration_ns"], p["place"]) for p in points] == [
        ("gemm_kernel", 4000, "roofline"),
        ("tiny_add", 600, "roofline"),
        ("copy_kernel", 500, "lane"),
        (HOSTILE, 400, "none"),
    ]
    matmul = points[0]
    assert {
        key: matmul[key] for key in ("launches", "modules", "median_ns", "flops", "dram_bytes", "phase", "kind")
    } == {
        "launches": 2,
        "modules": 2,
        "median_ns": 2000,
        "flops": 2e8,
        "dram_bytes": 4e6,
        "phase": "decode",
        "kind": "reuse",
    }
    assert (matmul["x"], matmul["y"], matmul["edge"]) == (50.0, 5e13, None)
    assert (matmul["roof_time_ns"], matmul["lost_ns"], matmul["bound"]) == (4000, 0, "dram")
    assert points[2]["x"] == 4e11  # 2e5 bytes in 500 ns


def test_modules_take_layers_together(page: str) -> None:
    modules = [row for row in rows(data(page)["modules"]) if row["run_id"] == "aaaa000000000001"]
    assert [(row["module"], row["family"], row["duration_ns"]) for row in modules] == [
        ("model.layers.*.mlp.up_proj", "matmul", 4000),
        ("model", "pointwise", 600),
        ("model", "copy", 500),
        (None, "other", 400),
    ]


def test_ledger_accounts_sum_to_the_device_time(page: str) -> None:
    content = data(page)
    times = {run["id"]: run["device_time_ns"] for run in content["runs"]}
    for run_id in ("aaaa000000000001", "aaaa000000000002", "cccc000000000004"):
        for account in ("attribution", "price"):
            own = [
                row["duration_ns"] for row in content["ledger"] if (row["run_id"], row["account"]) == (run_id, account)
            ]
            assert sum(own) == times[run_id]


def test_a_point_beyond_the_frame_stands_at_its_edge_and_keeps_its_numbers(page: str) -> None:
    tiny = next(row for row in rows(data(page)["points"]) if row["short"] == "tiny_add")
    assert (tiny["flops"], tiny["dram_bytes"]) == (2, 24)
    assert (tiny["y"], tiny["edge"]) == (1e9, "bottom")


def test_runs_are_rows_the_failed_ones_too(page: str) -> None:
    table = page[page.index("<tbody>") : page.index("</tbody>")]
    assert re.findall(r'<tr data-run="(\w+)"(?: class="(\w+)")?', table) == [
        ("aaaa000000000001", ""),
        ("aaaa000000000002", ""),
        ("bbbb000000000003", "failed"),
        ("cccc000000000004", ""),
    ]
    assert 'title="wanted 90 GB of 80 GB"' in table
    assert "79 GB" in table
    assert ">oom<" in table


def test_columns_without_values_are_left_out(page: str) -> None:
    head = page[page.index("<thead>") : page.index("</thead>")]
    titles = re.findall(r"<th[^>]*>([^<]+)</th>", head)
    assert titles == [
        "run",
        "device",
        "batch",
        "kernels",
        "device time",
        "FLOP/B",
        "peak memory",
        "outcome",
    ]


def test_names_from_traces_stay_text(page: str) -> None:
    assert "<img" not in page.replace("<image", "")
    assert page.count(HOSTILE) == 0
    assert HOSTILE in {row["kernel"] for row in rows(data(page)["points"])}


@pytest.mark.parametrize("text", ["</script>", "<!--", "\u2028", "\u2029", "]]>", "&amp;"])
def test_json_in_a_script_cannot_end_it(text: str) -> None:
    encoded = encode({"name": text})
    assert json.loads(encoded) == {"name": text}
    assert not set("<>&\u2028\u2029") & set(encoded)


class Resources(HTMLParser):
    """Every address the page names outside its scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [
            value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action", "poster")
        ]
        self.found += ["link"] * (tag in ("link", "iframe", "object", "embed", "base"))


def test_nothing_is_fetched(page: str) -> None:
    parser = Resources()
    parser.feed(page)
    assert parser.found == []
    assert "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:" in page
    assert not re.search(r"@import|url\(\s*['\"]?https?:", page[: page.index("</style>")])


def test_only_the_runs_asked_for(filled: Path, tmp_path: Path) -> None:
    content = data(reports.write(filled, tmp_path, ["laptop"]).read_text(encoding="utf-8"))
    assert [run["name"] for run in content["runs"]] == ["laptop"]
    assert {row["run_id"] for row in rows(content["points"])} == {"cccc000000000004"}
    assert [group["has_roofs"] for group in content["groups"]] == [False]


def test_the_sql_shown_gives_the_panel(page: str, filled: Path) -> None:
    import html

    statements = [html.unescape(sql) for sql in re.findall(r"<pre><code>(.*?)</code></pre>", page, re.S)]
    assert len(statements) == 5
    connection = warehouse.connect(filled, read_only=True)
    counts = [len(connection.execute(sql).fetchall()) for sql in statements]
    connection.close()
    content = data(page)
    assert counts[0] == len(rows(content["points"]))
    assert counts[1] == len(rows(content["modules"]))
    assert counts[2] == len(content["ledger"])
    assert counts[4] == len(content["runs"]) == 4


def test_the_page_is_replaced_whole(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = reports.write(filled, tmp_path / "new" / "folder")
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]
    before = path.read_bytes()

    def full(self: Path, *_: object, **__: object) -> int:
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        reports.write(filled, path.parent)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]


def test_an_empty_warehouse_says_what_to_do(tmp_path: Path) -> None:
    warehouse.connect(tmp_path / "w.duckdb").close()
    text = reports.write(tmp_path / "w.duckdb", tmp_path).read_text(encoding="utf-8")
    assert "The warehouse holds no runs yet" in text


def test_a_missing_warehouse_is_the_warehouses_error(tmp_path: Path) -> None:
    with pytest.raises(warehouse.WarehouseError, match="no such warehouse"):
        reports.write(tmp_path / "absent.duckdb", tmp_path)
