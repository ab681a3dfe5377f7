"""The command line as a user meets it: by exit code, stdout and the one line on stderr; streams in a process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from functools import partial
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from ridgeline.analyze.pricing.outside import outside
from ridgeline.capture.configuration.points import Mode
from ridgeline.capture.sweep import sweep
from tests.analyze import kineto
from tests.capture.quick import quicken
from tests.command_line import ridgeline

ROOT = Path(__file__).parents[1]
COMMANDS = (
    "demo",
    "capture",
    "record",
    "ceilings",
    "analyze",
    "sql",
    "report",
    "compare",
    "reprice",
    "forget",
    "verify",
    "export",
)
H200 = ROOT / "tests" / "data" / "h200"
DEMO = ROOT / "ridgeline" / "capture" / "configs" / "demo.toml"


def start(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "ridgeline", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "200"}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.run(command, text=True, env=environment, timeout=300, **streams)


def test_every_command_has_help_with_an_example() -> None:
    overview = ridgeline("--help").stdout
    for command in COMMANDS:
        assert command in overview
        shown = ridgeline(command, "--help")
        assert (shown.returncode, "Example: ridgeline " + command in shown.stdout) == (0, True)


def test_the_overview_cuts_no_sentence_short_and_keeps_the_order_of_work() -> None:
    commands = ridgeline("--help", columns=80).stdout.partition("Commands:")[2]
    assert "..." not in commands
    assert commands.split()[0] == "demo"
    assert commands.index("  analyze ") < commands.index("  sql ") < commands.index("  compare ")


def test_the_help_of_a_command_explains_its_arguments_and_defaults() -> None:
    shown = ridgeline("capture", "--help").stdout
    assert "  A TOML file that says what to run" in shown
    assert "[default: runs]" in shown


@pytest.mark.parametrize("limit", ["nan", "-1", "five"])
def test_a_limit_that_is_no_number_from_zero_is_a_wrong_call(limit: str) -> None:
    done = ridgeline("compare", "a", "b", "--fail-above", limit)
    assert (done.returncode, "Invalid value for '--fail-above'" in done.stderr) == (2, True)


@pytest.mark.process
def test_the_version_is_the_projects() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    done = start("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"ridgeline {declared}\n", "")


@pytest.mark.process
def test_starting_up_imports_nothing_heavy() -> None:
    """Nor does `analyze` before its decoders have started."""
    heavy = "{'torch', 'transformers', 'duckdb', 'polars', 'plotly', 'numpy', 'hta', 'rich'}"
    code = f"import sys, ridgeline, ridgeline.analyze.ingest; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.fixture(scope="module")
def analyzed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse of one trace."""
    folder = tmp_path_factory.mktemp("analyzed")
    path = folder / "w.duckdb"
    done = ridgeline("analyze", kineto.write(folder / "step.json", kineto.matmul_step()), "-w", path)
    assert (done.returncode, done.stdout) == (0, "")
    return path


@pytest.fixture
def warehouse(tmp_path: Path, analyzed: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copy(analyzed, tmp_path))


@pytest.mark.process
def test_data_goes_to_stdout_and_the_rest_to_stderr(warehouse: Path) -> None:
    sql = "SELECT name, kernels FROM runs JOIN ledger_summary USING (run_id, name) WHERE account = 'attribution'"
    done = start("sql", sql, "-w", warehouse, "--format", "json")
    assert (done.returncode, json.loads(done.stdout), done.stderr) == (0, [{"name": "step", "kernels": 4}], "")


def test_a_query_from_a_file(warehouse: Path, tmp_path: Path) -> None:
    (tmp_path / "q.sql").write_text("SELECT 1 AS one")
    done = ridgeline("sql", "-f", tmp_path / "q.sql", "-w", warehouse, "--format", "csv")
    assert (done.returncode, done.stdout) == (0, "one\n1\n")


def test_shipped_queries_and_configurations_have_bare_names(warehouse: Path, tmp_path: Path) -> None:
    file = ROOT / "ridgeline" / "warehouse" / "cookbook" / "01_slow_operators.sql"
    expected = ridgeline("sql", "-w", warehouse, "-f", file).stdout
    assert expected
    for name in ("slow_operators", "01_slow_operators"):
        assert ridgeline("sql", "-w", warehouse, "-f", name, cwd=tmp_path).stdout == expected
    assert (
        ridgeline("capture", "demo", "--dry-run", cwd=tmp_path).stdout == ridgeline("capture", DEMO, "--dry-run").stdout
    )
    (tmp_path / "slow_operators").write_text("SELECT 1 AS mine")  # a file of the user comes first
    assert "mine" in ridgeline("sql", "-w", warehouse, "-f", "slow_operators", cwd=tmp_path).stdout


def test_a_query_file_that_is_not_text_is_one_line(warehouse: Path, tmp_path: Path) -> None:
    (tmp_path / "q.sql").write_bytes(b"SELECT '\xff'")
    done = ridgeline("sql", "-f", tmp_path / "q.sql", "-w", warehouse)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"ridgeline: {tmp_path / 'q.sql'}: not UTF-8 text\n")


@pytest.mark.process
@pytest.mark.parametrize("into_a_file", [False, True])
def test_standard_output_by_name(warehouse: Path, tmp_path: Path, into_a_file: bool) -> None:
    query = ("sql", "SELECT 1 AS one", "-w", str(warehouse), "--format", "csv", "-o", "/dev/stdout")
    with (tmp_path / "stdout").open("w+") as file:
        done = start(*query, stdout=file if into_a_file else subprocess.PIPE)
        assert (done.returncode, file.read() if into_a_file else done.stdout) == (0, "one\n1\n")


def test_counters_that_were_not_used_are_named_after_the_line_of_their_trace(tmp_path: Path) -> None:
    path = kineto.write(tmp_path / "step.json", kineto.matmul_step())
    (tmp_path / "step.counters.csv").write_text("step,kernel,another\n0,k,1\n")
    done = ridgeline("analyze", path, "-w", tmp_path / "w.duckdb")
    assert (done.returncode, done.stdout) == (0, "")
    loaded, counters = done.stderr.splitlines()
    assert loaded == "ridgeline: step: loaded, 4 kernels, 0.009 ms of device time"
    assert counters.startswith(
        "ridgeline: step: warning: step.counters.csv: has the columns step, kernel, another: expected the columns step,"
        " launch_index, kernel, window, "
    )


def bad_files(folder: Path) -> dict[str, Path]:
    text = kineto.text(kineto.matmul_step())
    contents = {
        "empty.json": b"",
        "words.json": b"not json at all",
        "other.json": b'{"a": []}',
        "cut.json": text[: len(text) // 2].encode(),
        "cut.json.gz": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\xae\x05",
    }
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return {name: folder / name for name in (*contents, "missing.json")}


@pytest.mark.parametrize("name", ["empty.json", "words.json", "other.json", "cut.json", "cut.json.gz", "missing.json"])
def test_bad_traces_are_one_line_and_leave_the_warehouse_alone(warehouse: Path, tmp_path: Path, name: str) -> None:
    path = bad_files(tmp_path)[name]
    before = warehouse.read_bytes()
    done = ridgeline("analyze", path, "-w", warehouse)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"ridgeline: {path}: ")
    assert warehouse.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('model = "tiny-llama"\nmode = "ar"\nprompt_tokens = "many"\ngenerated_tokens = 4', "prompt_tokens"),
        ('model = "tiny-llama"\nmode = "ar"\nprompt_token = 4\ngenerated_tokens = 4', "prompt_tokens"),
        ("model = ", "TOML"),
    ],
)
def test_a_bad_configuration_is_one_line_and_exit_2(tmp_path: Path, text: str, said: str) -> None:
    config = tmp_path / "c.toml"
    config.write_text(text)
    done = ridgeline("capture", config, "--out", tmp_path / "runs")
    (line,) = done.stderr.splitlines()
    assert (done.returncode, done.stdout, said in line) == (2, "", True)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("sql", "SELECT 1", "-w", "none.duckdb"), 1),
        (("sql", "-w", "w.duckdb"), 2),
        (("sql", "SELEC", "-w", "w.duckdb"), 1),
        (("report", "-w", "none.duckdb"), 1),
        (("report", "-w", "w.duckdb", "--run", "nothing-like-it"), 1),
        (("capture", "none.toml"), 2),
        (("analyze", "step.json", "-w", "no/such/folder/w.duckdb"), 1),
    ],
)
def test_errors_are_one_line(warehouse: Path, tmp_path: Path, arguments: tuple[str, ...], code: int) -> None:
    done = ridgeline(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (code, "", 1)


@pytest.mark.process
def test_an_error_of_a_process_is_one_line(warehouse: Path, tmp_path: Path) -> None:
    """The other tests of this file call the command in the test process: both must end alike."""
    path = tmp_path / "words.json"
    path.write_bytes(b"not json at all")
    process, here = start("analyze", path, "-w", warehouse), ridgeline("analyze", path, "-w", warehouse)
    assert (process.returncode, process.stdout, process.stderr) == here == (1, "", here.stderr)


def test_repricing_what_is_current_changes_nothing(warehouse: Path) -> None:
    done = ridgeline("reprice", "-w", warehouse)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("1 runs, ")
    assert done.stdout.endswith(", 0 of them with another price\n")


def test_rules_of_a_file_price_stored_runs(
    warehouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("RIDGELINE_RULES", "")  # which the option sets, and the end of the test restores
    request.addfinalizer(outside.cache_clear)
    rules = tmp_path / "own.py"
    rules.write_text(
        "from ridgeline.rules import Rule\nRULES = [Rule(('mm', 'add', 'mul', 'addmm'), lambda bound, outputs: 42)]\n"
    )
    done = ridgeline("reprice", "-w", warehouse, "--rules", rules)
    assert (done.returncode, done.stderr) == (0, "")
    assert " 0 of them with another price" not in done.stdout
    flops = ridgeline("sql", "-w", warehouse, "SELECT DISTINCT flops FROM signatures WHERE outside_rules IS NOT NULL")
    assert "42" in flops.stdout
    rules.write_text("RULES = [")
    done = ridgeline("reprice", "-w", warehouse, "--rules", rules)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert f"{rules}: cannot be used as pricing rules: SyntaxError" in done.stderr


def test_theory_answers_for_the_papers_device() -> None:
    arguments = ("--model", "llama-3-8b", "--mode", "ar", "--prompt", "2048", "--generate", "128", "--device", "A6000")
    done = ridgeline("theory", *arguments, "--format", "csv")
    assert (done.returncode, done.stderr) == (0, "")
    header, *lines = [line.split(",") for line in done.stdout.splitlines()]
    (prefill,) = [
        row
        for line in lines
        if (row := dict(zip(header, line, strict=True)))["kind"] == "prefill"
        and row["component"] == "linear"
        and row["convention"] == "as_authored"
        and row["scope"] == "step"
    ]
    # 2 FLOPs for each of 6.98e9 streamed parameters and each of 2048 tokens, and the head for the last one
    assert float(prefill["flops"]) == pytest.approx(
        2 * 2048 * 32 * (2 * 4096**2 + 2 * 4096 * 1024 + 3 * 4096 * 14336), rel=1e-3
    )


def test_theory_refuses_a_model_nobody_knows() -> None:
    done = ridgeline("theory", "--model", "llama", "--mode", "ar", "--prompt", "4", "--generate", "2")
    assert done.returncode == 2
    assert done.stderr.startswith('ridgeline: theory: model = "llama"; expected one of ')


def test_a_folder_of_captured_runs_becomes_a_page(tmp_path: Path) -> None:
    """Runs captured on an H200: three modes, analyzed and reported here."""
    warehouse = tmp_path / "w.duckdb"
    assert ridgeline("analyze", H200, "-w", warehouse).returncode == 0
    rows = ridgeline(
        "sql",
        "SELECT mode, sum(duration_ns) = max(device_time_ns) AS closed, sum(share) AS share FROM ledger_summary"
        " JOIN runs USING (run_id, device_time_ns) WHERE account = 'attribution' AND entry = 'external_id'"
        " GROUP BY mode ORDER BY 1",
        "-w",
        warehouse,
        "--format",
        "json",
    )
    modes = ("ar", "dlm_block_dual", "dlm_full")
    assert json.loads(rows.stdout) == [{"mode": mode, "closed": True, "share": 1.0} for mode in modes]
    done = ridgeline("report", "-w", warehouse, "-o", tmp_path / "report")
    page = Path(done.stdout.strip())
    assert (done.returncode, page.parent) == (0, tmp_path / "report")
    html = page.read_text()
    assert all(f"_{mode}_" in html for mode in modes)


def check_demo(done: Any, folder: Path) -> None:
    assert done.returncode == 0, done.stderr
    html = Path(done.stdout.strip()).read_text()
    for mode in get_args(Mode):
        assert f"_{mode}_" in html
    sql = "SELECT mode, tokens_per_s > 0 AS fast FROM mode_summary ORDER BY 1"
    rows = ridgeline("sql", sql, "-w", folder / "ridgeline.duckdb", "--format", "csv")
    assert rows.stdout == "mode,fast\n" + "".join(f"{mode},True\n" for mode in sorted(get_args(Mode)))


def test_a_short_demo_runs_from_capture_to_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer tokens of each mode, in this process."""
    short = {"prompt_tokens": 8, "generated_tokens": 4, "repeats": 1}
    points = [
        msgspec.structs.replace(point, **short, block=point.block and 2, steps=point.steps and 2)
        for point in sweep.load(DEMO)
    ]
    monkeypatch.setattr(sweep, "load", {DEMO: points}.__getitem__)
    monkeypatch.setattr(sweep, "run", partial(sweep.run, isolate=False))
    quicken(monkeypatch)
    check_demo(ridgeline("demo", "--out", tmp_path / "demo"), tmp_path / "demo")


@pytest.mark.process
@pytest.mark.exhaustive
def test_the_demo_runs_from_capture_to_report(tmp_path: Path) -> None:
    check_demo(start("demo", "--out", tmp_path / "demo"), tmp_path / "demo")
