"""Odd machines: libraries that are missing, no network, no home, closed or full outputs, folders that are read-only."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ridgeline.analyze.reprice import reprice
from tests import command_line, sampling
from tests.analyze import kineto
from tests.analyze.loading import query

pytestmark = pytest.mark.process
ROOT = Path(__file__).parents[1]
H200 = ROOT / "tests" / "data" / "h200"
CAPTURE = 'model = "tiny-llama"\nmode = "ar"\nprompt_tokens = 8\ngenerated_tokens = 4\nrepeats = 1\ndevice = "cpu"\n'
THEORY = ("theory", "--model", "tiny-llama", "--mode", "ar", "--prompt", "8", "--generate", "4", "--device", "H200")
FORMATS = ("csv", "json", "parquet", "table", "lines")
ALL = ("sql", "SELECT * FROM kernel_roofline", "--format", "csv")

Done = subprocess.CompletedProcess[str]


def ridgeline(folder: Path, *arguments: object, path: Path | None = None, **options: Any) -> Done:
    """The command in a folder; `path` comes before everything else that is imported."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, filter(None, [path, ROOT])))}
    environment |= options.pop("env", {})
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    command = [sys.executable, "-m", "ridgeline", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=environment, text=True, timeout=120, **streams)


def is_one_line(done: Done | command_line.Done, *words: str) -> bool:
    """Whether it failed with one line that has these words."""
    (line,) = done.stderr.splitlines()
    return done.returncode == 1 and line.startswith("ridgeline: ") and all(word in line for word in words)


def without(folder: Path, *modules: str) -> Path:
    """A folder to import from that makes these modules look as if they were not installed."""
    for module in modules:
        text = f'raise ModuleNotFoundError("No module named {module!r}", name={module!r})\n'
        (folder / f"{module}.py").write_text(text)
    return folder


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory, h200_warehouse: Path) -> Path:
    """A folder with a warehouse."""
    folder = tmp_path_factory.mktemp("warehouse")
    shutil.copy(h200_warehouse, folder)
    (folder / "point.toml").write_text(CAPTURE)
    return folder


def runs() -> list[str]:
    return sorted(path.name for path in H200.iterdir() if path.is_dir())


def commands(folder: Path) -> dict[str, tuple[object, ...]]:
    """What must work on a machine that only looks at results."""
    return {
        "sql": ALL,
        "report": ("report", "-o", folder / "report"),
        "compare": ("compare", runs()[0], runs()[1], "-o", folder / "compare"),
        "theory": THEORY,
        "unchanged": ("analyze", H200),
        "priced": ("analyze", kineto.write(folder / "another.json", kineto.matmul_step() * 2)),
        "plan": ("capture", "point.toml", "--dry-run"),
    }


NAMES = ("sql", "report", "compare", "theory", "unchanged", "priced", "plan")


@pytest.mark.parametrize("name", NAMES)
def test_results_need_no_torch_no_driver_no_home_no_network_and_no_terminal(
    tmp_path: Path, folder: Path, name: str
) -> None:
    path = without(tmp_path, "torch", "transformers", "pynvml", "hta")
    (path / "sitecustomize.py").write_text("import socket\nsocket.socket = socket.create_connection = None\n")
    odd = {"HOME": "/proc/none", "TERM": "dumb", "COLUMNS": "10", "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    done = ridgeline(folder, *commands(tmp_path)[name], path=path, env=odd | {"TMPDIR": "/proc/none"})
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.isascii()


UNKNOWN = "aten::_test_warn_in_autograd"
"""An operator of PyTorch's own tests: no rule of ours gives its result."""


def test_a_trace_loads_without_torch_and_is_repriced_with_it(tmp_path: Path, folder: Path) -> None:
    warehouse = tmp_path / "w.duckdb"
    unknown = kineto.operator(UNKNOWN, 5, 10, 1, [[4, 4]], ["float"])
    events = [unknown, kineto.launch(6, 11), kineto.kernel("k", 20, 4, 11, **{"External id": 1})]
    new = kineto.write(tmp_path / "new.json", events)
    no_torch = without(tmp_path, "torch")
    done = ridgeline(folder, "analyze", new, "-w", warehouse, path=no_torch)
    line = (
        "1 signature: PyTorch cannot be imported here: priced from recorded inputs, with low confidence: "
        "after pip install 'ridgeline[capture]' `ridgeline reprice` asks again"
    )
    assert done.returncode == 0
    assert f"ridgeline: new: warning: {line}" in done.stderr.splitlines()
    waiting = "SELECT operator, method, confidence FROM signatures WHERE rules_version < 0"
    assert query(warehouse, waiting) == [(UNKNOWN, "inputs", "low")]
    asked = ridgeline(folder, "reprice", "-w", warehouse, path=no_torch)
    assert (asked.returncode, asked.stderr) == (0, f"ridgeline: warning: {line}\n")
    assert reprice(warehouse).changed == 1
    assert query(warehouse, waiting) == []
    assert query(warehouse, "SELECT operator, method FROM signatures") == [(UNKNOWN, "shapes")]


@pytest.mark.parametrize(
    ("arguments", "module", "package"),
    [
        (("report", "-o", "nowhere"), "plotly", "plotly"),
        (("ceilings", "--out", "c.json"), "torch", "'ridgeline[capture]'"),
        (("capture", "point.toml", "--out", "no-torch"), "torch", "'ridgeline[capture]'"),
        (("capture", "point.toml", "--out", "no-transformers"), "transformers", "'ridgeline[capture]'"),
    ],
)
def test_a_library_that_is_needed_is_named(
    tmp_path: Path, folder: Path, arguments: tuple[str, ...], module: str, package: str
) -> None:
    done = ridgeline(folder, *arguments, path=without(tmp_path, module))
    assert is_one_line(done, f"needs {module}: pip install {package}")
    assert not [path for path in (folder / arguments[-1]).rglob("*") if path.is_file()]


SAYING = [ALL, THEORY, ("--help",), ("--version",), ("reprice",), ("compare", *runs()[:2])]
"""Commands that print: rows, a table and a page of click; the others print as they do, and run exhaustively."""


@pytest.mark.parametrize("arguments", SAYING[: sampling.pick(3, 6)])
def test_output_that_cannot_be_written_is_an_error(folder: Path, arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        done = ridgeline(folder, *arguments, stdout=full)
    assert (done.returncode, done.stderr.splitlines()[-1].endswith("No space left on device")) == (1, True)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", SAYING[: sampling.pick(2, 6)])
def test_output_that_is_closed_is_an_error(folder: Path, arguments: tuple[str, ...]) -> None:
    closed = ridgeline(folder, *arguments, preexec_fn=lambda: os.close(1))
    assert (closed.returncode, closed.stderr.splitlines()[-1].endswith("Bad file descriptor")) == (1, True)
    assert "Traceback" not in closed.stderr


def test_what_is_said_to_a_closed_stream_reaches_no_other(tmp_path: Path, folder: Path) -> None:
    """Else the warehouse, opened next, would be standard error."""
    trace = kineto.write(tmp_path / "t.json", kineto.matmul_step() * 4)
    done = ridgeline(folder, "analyze", trace, preexec_fn=lambda: os.closerange(0, 3))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert query(folder / "ridgeline.duckdb", "SELECT count(*) FROM runs WHERE name = 't'") == [(1,)]


def test_a_reader_that_has_seen_enough_ends_the_command_quietly(folder: Path) -> None:
    command = [sys.executable, "-m", "ridgeline", *ALL]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert (process.stderr.read(), process.wait(30)) == (b"", 1)
    process.stderr.close()


def writers(out: Path) -> list[tuple[object, ...]]:
    """Commands that write into a folder."""
    return [
        ("report", "-o", out),
        ("compare", *runs()[:2], "-o", out),
        *(("sql", ALL[1], "--format", kind, "-o", out / f"rows.{kind}") for kind in FORMATS),
        ("ceilings", "--out", out / "ceilings.json"),
        ("capture", "point.toml", "--out", out / "runs"),
        ("export", out / "lake"),
    ]


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder that not even root can write to."""
    out = tmp_path / "out"
    out.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(out)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("needs to mount a file system")
    yield out
    subprocess.run(["umount", str(out)], check=True)


@pytest.mark.parametrize("number", [0, 1, 2, 8])
def test_a_folder_that_cannot_be_written_to_is_named(folder: Path, read_only: Path, number: int) -> None:
    done = command_line.ridgeline(*writers(read_only)[number], cwd=folder)
    assert is_one_line(done, str(read_only), "Read-only file system")


@pytest.mark.parametrize("number", [0, 2, 4, pytest.param(1, marks=pytest.mark.exhaustive)])  # 1 writes a page as 0
def test_a_disk_that_is_full_leaves_what_was_there(tmp_path: Path, folder: Path, number: int) -> None:
    """No file may have more than a few bytes: what cannot be written whole is not there, and the old one stays."""
    names = (
        "report.html",
        "study.html",
        "compare.html",
        *(f"rows.{kind}" for kind in FORMATS),
    )
    for name in names:
        (tmp_path / name).write_text("before")

    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))

    done = ridgeline(folder, *writers(tmp_path)[number], preexec_fn=full)
    assert is_one_line(done, str(tmp_path), "File too large")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(names, "before")
