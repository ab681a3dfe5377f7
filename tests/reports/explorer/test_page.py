from __future__ import annotations

import base64
import json
import re
import shutil
import zlib
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ridgeline import reports, warehouse
from ridgeline.reports import html, queries
from ridgeline.reports.embedding import coded, encode, pack
from ridgeline.reports.explorer import page as explorer_page

HOSTILE = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def page(report: Path) -> str:
    return report.read_text(encoding="utf-8")


def data(page: str) -> dict[str, Any]:
    found = re.search(r'<script id="data" type="text/plain">(.*?)</script>', page, re.S)
    assert found
    decoded: dict[str, Any] = unpack(found[1])
    return decoded


def unpack(text: str) -> Any:
    return json.loads(zlib.decompress(base64.b64decode(text)))


def test_a_packed_page_gives_back_its_data() -> None:
    assert unpack(pack({"kernel": "</script>"})) == {"kernel": "</script>"}


def rows(columns: dict[str, Any]) -> list[dict[str, Any]]:
    """What the page's `tableOf` does."""
    length = max(
        len(column["codes"]) if isinstance(column, dict) else len(column) for column in columns.values() if column
    )

    def values(column: Any) -> list[Any]:
        if column is None:
            return [None] * length
        if isinstance(column, list):
            return column
        return [column["values"][code] for code in column["codes"]]

    return [dict(zip(columns, row, strict=True)) for row in zip(*map(values, columns.values()), strict=True)]


def test_every_launch_is_there_with_exact_values(page: str) -> None:
    found = [row for row in rows(data(page)["launch_groups"]) if row["run_id"] == "aaaa000000000001"]
    assert sorted((row["launch"], row["kernel"], row["duration_ns"]) for row in found) == [
        (0, "void gemm_kernel<bf16>(float*)", 2000),
        (1, "void gemm_kernel<bf16>(float*)", 2000),
        (2, "void at::native::copy_kernel(float*)", 500),
        (3, HOSTILE, 400),
        (4, "tiny_add", 600),
    ]
    first = next(row for row in found if row["launch"] == 0)
    asked = ("launches", "best_flops", "algorithm_flops", "best_bytes", "compulsory_bytes", "phase", "kind", "module")
    assert [first[name] for name in asked] == [1, 1e8, 1e8, 2e6, 2e6, "decode", "reuse", "model.layers.*.mlp.up_proj"]
    assert (first["best_roof_ns"], first["nearest_roof"], first["bound"]) == (2000, "dram", "dram")
    assert (first["roof_flops_per_s"], first["dram_bytes_per_s"]) == (1e14, 1e12)


def test_many_launches_go_together_by_duration(filled: Path) -> None:
    connection = warehouse.connect(filled, read_only=True)
    found = queries.rows(connection, "launch_groups", runs=["aaaa000000000001"], bins=16)
    connection.close()
    matmul = [row for row in found if row["family"] == "matmul"]
    assert [(row["launches"], row["duration_ns"], row["best_flops"], row["launch"]) for row in matmul] == [
        (2, 4000, 2e8, 175)  # floor(16 log2 2000)
    ]
    assert sum(row["duration_ns"] for row in found) == 5500


def test_ledger_accounts_sum_to_the_device_time(page: str) -> None:
    content = data(page)
    times = {run["id"]: run["device_time_ns"] for run in content["runs"]}
    for run_id in ("aaaa000000000001", "aaaa000000000002", "cccc000000000004"):
        for account in ("attribution", "price"):
            own = [
                row["duration_ns"] for row in content["ledger"] if (row["run_id"], row["account"]) == (run_id, account)
            ]
            assert sum(own) == times[run_id]


def test_runs_are_rows_the_failed_ones_too(page: str) -> None:
    table = page[page.index('<section id="runs">') :]
    table = table[: table.index("</tbody>")]
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
    head = page[page.index('<section id="runs">') :]
    head = head[: head.index("</thead>")]
    titles = [title.strip() for title in re.findall(r"<th[^>]*>([^<]+)", head)]
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
    assert HOSTILE in {row["kernel"] for row in rows(data(page)["launch_groups"])}


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


def test_no_name_is_declared_by_two_scripts() -> None:
    """Scripts share one scope, in which the later of two functions would silently replace the earlier."""
    folder = Path(explorer_page.__file__).parents[1] / "templates"
    names = [
        name
        for script in explorer_page.SCRIPTS
        for name in re.findall(
            r"(?m)^(?:async )?(?:function|const|let|class) (\w+)", (folder / f"{script}.js").read_text()
        )
    ]
    assert [name for name, times in Counter(names).items() if times > 1] == []


def test_an_id_is_of_one_element(page: str) -> None:
    """A panel that shared the id of a selector was always in view, and drawn with every selection."""
    ids = Counter(re.findall(r' id="([^"]+)"', page))
    assert {name: times for name, times in ids.items() if times > 1} == {}


def test_the_function_that_holds_plotly_stands_in_parentheses() -> None:
    bare = "(\n function(root, factory) {\n}(self, () => {\nvar Plotly = 1;\nreturn Plotly;\n}));\n"
    assert (
        html.eager(bare)
        == "(\n function(root, factory) {\n}(self, (function () {\nvar Plotly = 1;\nreturn Plotly;\n})));"
    )
    for other in ("var a = [1, () => {\n}];", "x" * 2000 + bare, ""):
        assert html.eager(other) == other


def test_numbers_that_repeat_are_dictionary_encoded() -> None:
    packed = coded({"few": [1.5, None, 1.5, 1.5] * 3, "many": [1, 2, 3], "text": ["a", None, "a"], "none": [None] * 3})
    assert packed == {
        "few": {"values": [1.5, None], "codes": [0, 1, 0, 0] * 3},
        "many": [1, 2, 3],
        "text": {"values": ["a", None], "codes": [0, 1, 0]},
        "none": None,
    }


def test_the_same_rows_make_the_same_page(stocked: Path, tmp_path: Path) -> None:
    """To the byte, in whatever order they lie in the warehouse, on which the last digits of their sums depend."""
    before = reports.write(stocked, tmp_path / "before").read_bytes()
    connection = warehouse.connect(shutil.copy(stocked, tmp_path))
    for table in ("kernels", "kernel_classes", "signatures", "counters"):
        connection.execute(f"CREATE TEMP TABLE turned AS SELECT * FROM {table} ORDER BY rowid DESC")
        connection.execute(f"DELETE FROM {table}")
        connection.execute(f"INSERT INTO {table} SELECT * FROM turned")
        connection.execute("DROP TABLE turned")
    warehouse.refresh(connection)
    connection.close()
    assert reports.write(tmp_path / "w.duckdb", tmp_path / "after").read_bytes() == before


def test_only_the_runs_asked_for(filled: Path, tmp_path: Path) -> None:
    content = data(reports.write(filled, tmp_path, ["laptop"]).read_text(encoding="utf-8"))
    assert [run["name"] for run in content["runs"]] == ["laptop"]
    assert {row["run_id"] for row in rows(content["launch_groups"])} == {"cccc000000000004"}
    assert [machine["has_roofs"] for machine in content["machines"]] == [False]


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
