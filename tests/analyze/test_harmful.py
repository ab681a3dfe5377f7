"""Traces made to harm: nothing of theirs is run, allocated, written elsewhere, or shown as more than text."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ridgeline.analyze.ingest import analyze
from ridgeline.analyze.pricing.price import price_all
from tests.analyze import kineto
from tests.analyze.loading import RUN_JSON, load, opened, query, run_directory
from tests.command_line import ridgeline
from tests.sampling import pick

ROOT = Path(__file__).parents[2]
PLANTED = ("s3cr3t-t0ken", "alice-the-user", "gpu-node-17.corp.example", "/home/alice", "AWS_SECRET_ACCESS_KEY")
SECRETS = {
    "host_name": PLANTED[2],
    "user": PLANTED[1],
    "USER": PLANTED[1],
    "env": {"HF_TOKEN": PLANTED[0], PLANTED[4]: "x"},
    "environment": {PLANTED[4]: PLANTED[0]},
    "hostname": PLANTED[2],
    "cwd": PLANTED[3],
}


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_secrets_of_foreign_metadata_reach_neither_warehouse_nor_page(tmp_path: Path) -> None:
    events = kineto.matmul_step()
    for event in events:
        event["args"] = {**event.get("args", {}), **SECRETS, "Call stack": PLANTED[3]}
    events.append({"ph": "M", "name": "process_name", "pid": 1, "args": {"name": PLANTED[1], **SECRETS}})
    events.append({"ph": "X", "cat": "python_function", "name": PLANTED[3], "ts": 1, "dur": 1, "args": SECRETS})
    header = {**kineto.HEADER, **SECRETS, "otherData": SECRETS, "distributedInfo": {"rank": 0, "host": PLANTED[2]}}
    header["deviceProperties"] = [{**kineto.HEADER["deviceProperties"][0], **SECRETS}]
    described: dict[str, Any] = SECRETS | {"trace": "/etc/passwd"} | json.loads(json.dumps(RUN_JSON))
    for part in ("config", "environment", "model", "memory", "tokens"):
        described[part] |= SECRETS
    described["timings"][0] |= SECRETS
    folder = run_directory(tmp_path / "in" / "a", described)
    kineto.write(folder / "trace.json.gz", events, header=header)
    et = {"schema": "1.1.1-chakra.0.0.4", **SECRETS, "nodes": [{"name": PLANTED[1], "attrs": [], **SECRETS}]}
    (folder / "trace.et.json").write_text(json.dumps(et))
    row = {"resource": "bandwidth", "level": "dram", "value": 1e12, "unit_of_value": "byte/s", "source": "measured"}
    ceilings = {"format": 1, "device": "NVIDIA H200", "ceilings": [row | SECRETS], **SECRETS}
    (folder / "ceilings.json").write_text(json.dumps(ceilings))
    (folder / "telemetry.csv").write_text(f"time_ns,power_w,host\n1,5,{PLANTED[2]}\n")
    for command in (("analyze", "in"), ("report",), ("sql", "FROM runs", "--format", "json")):
        done = ridgeline(*command, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert not any(word in done.stdout + done.stderr for word in PLANTED)
    written = [tmp_path / "ridgeline.duckdb", *(tmp_path / "report").rglob("*.html")]
    assert len(written) == 3
    for path in written:
        data = path.read_bytes()
        assert [word for word in PLANTED if word.encode() in data] == [], path
    with opened(written[0]) as connection:
        for (table,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall():
            text = str(connection.execute(f"FROM {table}").fetchall())
            assert [word for word in PLANTED if word in text] == [], table


EVIL = "\x1b[2J\x1b]0;owned\x07 \u202egnp.exe\u2066 [bold]x[/nothing] </script><img src=x onerror=alert(1)> \0 {{7*7}}"


@pytest.mark.process
def test_names_with_control_characters_and_markup_are_only_text(tmp_path: Path) -> None:
    events = kineto.matmul_step()
    for event in events:
        if event["ph"] == "X" and event["cat"] in ("kernel", "cpu_op"):
            event["name"] = EVIL
    name = EVIL.replace("/", "_").replace("\0", "")[:100]
    path = kineto.write(tmp_path / f"{name}.json", events)
    (tmp_path / f"{name}2.json").write_text("{")
    done = ridgeline("analyze", path, tmp_path / f"{name}2.json", "-w", "w.duckdb", cwd=tmp_path)
    sql = ["sql", "-w", "w.duckdb", "SELECT name, kernel FROM kernel_roofline"]
    shown = ridgeline(*sql, cwd=tmp_path)
    command = [sys.executable, "-m", "ridgeline", *sql]
    written = subprocess.run(command, capture_output=True, cwd=tmp_path, timeout=300)
    assert (written.stdout.decode(), written.stderr.decode()) == (shown.stdout, shown.stderr)
    compared = ridgeline("compare", "-w", "w.duckdb", name, name, cwd=tmp_path)
    missing = ridgeline("report", "-w", f"{name}.duckdb", cwd=tmp_path)
    assert (done.returncode, shown.returncode, missing.returncode) == (1, 0, 1)
    for output in (done, shown, compared, missing):
        text = output.stdout + output.stderr
        assert text.strip()
        assert not [c for c in text if not c.isprintable() and c != "\n"]
    lines = done.stderr.splitlines()
    assert all(line.startswith("ridgeline: ") for line in lines)
    assert len([line for line in lines if ": warning: " not in line]) == 2
    page = ridgeline("report", "-w", "w.duckdb", cwd=tmp_path)
    assert page.returncode == 0, page.stderr
    html = (tmp_path / "report" / "report.html").read_text()
    assert "<img src=x" not in html
    assert "\x1b" not in html


def test_a_name_that_climbs_stays_a_name(tmp_path: Path) -> None:
    names = ["../../climbed", "/tmp/climbed", "a/../../climbed", "..", "~/x", "C:\\climbed"]
    folder = tmp_path / "deep" / "er"
    for i, name in enumerate(names):
        described: dict[str, Any] = {
            **RUN_JSON,
            "name": name,
            "experiment": name,
            "trace": "../../../etc/passwd",
            "counters": {"file": name},
        }
        described["config"] = RUN_JSON["config"] | {"model": name}  # type: ignore[operator]
        run = run_directory(folder / "runs" / f"a{i}", described)
        kineto.write(run / "trace.json.gz", [*kineto.matmul_step(), kineto.named(name)])
        events = kineto.matmul_step()
        for event in events:
            event["name"] = name
        kineto.write(folder / "runs" / f"b{i}.json", events, header={**kineto.HEADER, "traceName": name})
    outside = {each for each in files(tmp_path) if not each.startswith("deep/er")}
    assert ridgeline("analyze", "runs", cwd=folder).returncode == 0
    assert ridgeline("report", cwd=folder).returncode == 0
    for i, name in enumerate(names):
        assert ridgeline("report", "--run", name, cwd=folder).returncode == 1
        if i < pick(2, len(names)):
            assert ridgeline("compare", f"a{i}", f"b{i}", "-o", "diff", cwd=folder).returncode == 0
    assert {each for each in files(tmp_path) if not each.startswith("deep/er")} == outside
    assert files(folder) - {"ridgeline.duckdb"} - {e for e in files(folder) if e.startswith("runs")} == {
        "report",
        "report/report.html",
        "report/study.html",
        "diff",
        "diff/compare.html",
    }
    runs = sorted(f"{kind}{i}" for kind in "ab" for i in range(len(names)))
    assert query(folder / "ridgeline.duckdb", "SELECT name FROM runs ORDER BY 1") == [(name,) for name in runs]


BIG = 1 << 47
CODE = "__import__('os').system('touch planted')"
SIGNATURES: list[tuple[str, list[Any], list[str], list[str]]] = [
    ("aten::mm", [[BIG, BIG], [BIG, BIG]], ["float"] * 2, ["", ""]),
    ("aten::mm", [[1 << 62, 1 << 62], [1 << 62, 1]], ["float"] * 2, ["", ""]),
    ("aten::add.Tensor", [[BIG] * 60, [BIG] * 60, []], ["float", "float", "Scalar"], ["", "", "1"]),
    ("aten::add.Tensor", [[4], [4], []], ["float", "float", "Scalar"], ["", "", CODE]),
    ("aten::zeros", [[], [], [], [], []], ["ScalarList", "Scalar", "", "Device", "Scalar"],
     [f"[{1 << 40}, {1 << 20}]", "6", "", "cpu", "False"]),
    ("aten::empty.memory_format", [[], [], [], [], []], ["ScalarList", "Scalar", "", "Device", "Scalar"],
     [f"[{1 << 36}]", "6", "", "cpu", "False"]),
    ("aten::unbind.int", [[BIG, 1], []], ["float", "Scalar"], ["", "0"]),
    ("aten::split.Tensor", [[BIG], [], []], ["float", "Scalar", "Scalar"], ["", "1", "0"]),
    ("aten::save", [[4], []], ["float", "Scalar"], ["", "planted"]),
    ("aten::from_file", [[], [], []], ["Scalar"] * 3, ["planted", "True", str(1 << 30)]),
    ("aten::ljust", [[], [], []], ["Scalar"] * 3, ["x", str(1 << 40), "y"]),
    ("aten::floordiv.int", [[], []], ["Scalar"] * 2, ["1", "0"]),
    ("aten::__round_to_zero_floordiv.int", [[], []], ["Scalar"] * 2, ["1", "0"]),
    ("aten::manual_seed", [[]], ["Scalar"], ["7"]),
    ("aten::__class__", [[4]], ["float"], [""]),
    ("prim::Print", [[4]], ["float"], [""]),
    ("os::system", [[]], ["Scalar"], ["touch planted"]),
    ("aten::view", [[4], []], ["float", "ScalarList"], ["", "[" * 100_000]),
    ("aten::view", [[4], []], ["float", "ScalarList"], ["", "[" * 9_000]),
    ("aten::view", [[4], []], ["float", "ScalarList"], ["", "9" * 9_000]),
]  # fmt: skip


@pytest.mark.process
def test_signatures_only_say_shapes(tmp_path: Path) -> None:
    """In a process with little memory to spare: nothing is allocated, written, evaluated or seeded."""
    script = f"""
import json, resource, sys
import torch
from ridgeline.analyze.pricing.price import price_all
warm = ("aten::mm", b"[[4, 4], [4, 4]]", b'["float", "float"]', b"", b'["", ""]')
price_all([warm])
torch.manual_seed(1)
state = torch.get_rng_state()
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30),) * 2)
for op, *parts in json.load(open({str(tmp_path / "signatures.json")!r})):
    dims, types, concrete = (json.dumps(part).encode() for part in parts)
    print(op, price_all([(op, dims, types, b"", concrete)])[0])
assert torch.equal(state, torch.get_rng_state())
"""
    (tmp_path / "signatures.json").write_text(json.dumps(SIGNATURES))
    (tmp_path / "in").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path / "in",
        env=environment,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == len(SIGNATURES)
    assert files(tmp_path / "in") == set()


def test_nested_dims_and_overflowing_products_load(tmp_path: Path, warehouse: Path) -> None:
    events = kineto.matmul_step()
    for dims in ("[" * 500 + "]" * 500, [[1 << 62] * 8], [[-1, 4]], [[2**70]], {"a": 1}):
        event = kineto.operator("aten::mm", 5.0, 10.0, 2, [[4, 64], [64, 32]], ["float", "float"])
        event["args"]["Input Dims"] = json.loads(dims) if isinstance(dims, str) else dims
        events.append(event)
    assert load(warehouse, kineto.write(tmp_path / "t.json", events)) == [("t", "loaded")]
    assert query(warehouse, "SELECT DISTINCT account, sum(duration_ns) FROM ledger GROUP BY ALL ORDER BY 1") == [
        ("attribution", 8875),
        ("price", 8875),
    ]


def test_dims_nested_ten_thousand_deep_are_one_line(tmp_path: Path, warehouse: Path) -> None:
    text = kineto.text(kineto.matmul_step(), "compact").replace("[[4, 64], [64, 32]]", "[" * 10_000 + "]" * 10_000)
    (tmp_path / "t.json").write_text(text)
    (result,) = analyze([tmp_path / "t.json"], warehouse)
    assert "values nested more deeply than in any trace" in str(result.error)
    (result,) = analyze([tmp_path / "t.json"], warehouse, salvage=True)
    assert result.outcome == "loaded"


def test_prices_are_never_raised_for_what_a_signature_says() -> None:
    for texts in (b"\xff", b"[" * 5000, b"[NaN]", b"{}", b'[["a"]]', b"[" + b"9" * 5000 + b"]"):
        (price,) = price_all([("aten::mm", texts, texts, texts, texts)])
        assert price.method == "none"
