"""Interrupted commands: completed work is kept, nothing half-made is left, and the same command completes the work.

SIGINT goes to the process group, as a terminal sends it, SIGTERM to the main process alone, as a service manager does;
each upon a visible sign, and a few times at random moments. In `make test` most commands meet one of the two, some
SIGINT and some SIGTERM.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from ridgeline.capture.sweep import sweep
from ridgeline.terminal import INTERRUPTED as LINE
from tests.analyze import kineto
from tests.analyze.loading import query
from tests.capture.quick import quicken
from tests.command_line import ridgeline
from tests.sampling import pick

ROOT = Path(__file__).parents[1]
H200 = ROOT / "tests" / "data" / "h200"
pytestmark = pytest.mark.process
LIMIT_S = 30
"""No command may take longer to end."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SOON = """
import runpy, sys
__file__ = "ridgeline"  # without one DuckDB takes Python for interactive, and shows progress on stdout
from ridgeline import terminal
terminal.GRACE_S = 0.3
sys.argv = sys.argv[2:]
runpy.run_module("ridgeline", run_name="__main__")
"""
"""The command with less time to end after a signal; its arguments are those of Python."""
THEORY = ("theory", "--model", "tiny-llama", "--mode", "ar", "--prompt", "8", "--generate", "4", "--device", "H200")


def signals(first: signal.Signals) -> pytest.MarkDecorator:
    """A test with one signal, and with the other in an exhaustive run."""
    numbers = sorted(SIGNALS, key=lambda number: number is not first)[: pick(1, 2)]
    return pytest.mark.parametrize("number", numbers, ids=lambda number: number.name)


class Command:
    """A command under way, in a session of its own; its output goes to files."""

    def __init__(self, folder: Path, *arguments: object, python: tuple[str, ...] = ()) -> None:
        self._out, self._err = folder / "stdout.txt", folder / "stderr.txt"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, *python, "-m", "ridgeline", *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=folder,
                start_new_session=True,
            )

    @property
    def stdout(self) -> str:
        return self._out.read_text()

    @property
    def stderr(self) -> str:
        return self._err.read_text()

    def when(self, sign: Callable[[], object], limit_s: float = 120) -> None:
        """Wait for a sign."""
        deadline = time.monotonic() + limit_s
        while not sign():
            assert self.process.poll() is None, f"it ended before the sign: {self.stderr}"
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.002)

    def interrupt(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            (os.killpg if number is signal.SIGINT else os.kill)(self.process.pid, number)

    def end(self) -> int:
        """The exit code, once none of its session is left."""
        code = self.process.wait(LIMIT_S)
        deadline = time.monotonic() + 5
        while orphans := _of_session(self.process.pid):
            assert time.monotonic() < deadline, f"orphans: {orphans}"
            time.sleep(0.01)
        return code

    def cpu_s(self) -> float:
        """Seconds of processor time so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _of_session(leader: int) -> list[str]:
    """The names of a session's processes, without zombies."""
    names = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            name, _, rest = stat.read_text().rpartition(")")
            state, _, _, session, *_ = rest.split()
            if int(session) == leader and state != "Z":
                names.append(name)
    return names


@contextmanager
def under_way(folder: Path, *arguments: object, python: tuple[str, ...] = ()) -> Iterator[Command]:
    command = Command(folder, *arguments, python=python)
    try:
        yield command
    finally:
        with suppress(ProcessLookupError):
            os.killpg(command.process.pid, signal.SIGKILL)
        command.process.wait()


def left(folder: Path) -> list[str]:
    """The names of temporary files."""
    return [path.name for path in folder.rglob("*") if path.suffix in (".part", ".partial", ".wal", ".tmp")]


def run(folder: Path, *arguments: object) -> None:
    """Run the command in this process; it must succeed."""
    done = ridgeline(*arguments, cwd=folder)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Traces large enough for decoder processes, each with another number of kernels."""
    folder = tmp_path_factory.mktemp("traces")
    padding = {"ph": "i", "name": "x" * 4_000_000, "ts": 0}
    return [kineto.write(folder / f"t{i}.json", [*kineto.matmul_step() * (i + 1), padding]) for i in range(5)]


@pytest.fixture
def warehouse(h200_warehouse: Path) -> Path:
    """A warehouse with prices for the traces above."""
    return h200_warehouse


@signals(signal.SIGINT)
def test_analyze_keeps_the_runs_that_it_named(
    tmp_path: Path, traces: list[Path], warehouse: Path, number: signal.Signals
) -> None:
    shutil.copy(warehouse, tmp_path)
    with under_way(tmp_path, "analyze", *traces, "--jobs", "2") as command:
        command.when(lambda: "t0: loaded" in command.stderr)
        assert len(_of_session(command.process.pid)) == 3
        command.interrupt(number)
        assert command.end() == 128 + number
    *named, last = command.stderr.splitlines()
    assert last == LINE
    kept = [line.split(": ")[1] for line in named]
    assert len(kept) < len(traces)
    statement = "SELECT name FROM runs WHERE name LIKE 't_' ORDER BY 1"
    stored = [name for (name,) in query(tmp_path / "ridgeline.duckdb", statement)]
    # a signal may come between a run's commit and its line
    assert (stored[: len(kept)], len(stored) - len(kept) in (0, 1)) == (kept, True)
    assert left(tmp_path) == []
    run(tmp_path, "analyze", *traces)
    statement = "SELECT name, count(*) FROM kernels JOIN runs USING (run_id) WHERE name LIKE 't_' GROUP BY 1 ORDER BY 1"
    assert query(tmp_path / "ridgeline.duckdb", statement) == [(f"t{i}", 4 * (i + 1)) for i in range(5)]


def test_decoders_end_with_a_parent_that_cannot_say_so(tmp_path: Path, traces: list[Path]) -> None:
    with under_way(tmp_path, "analyze", *traces, "--jobs", "2") as command:
        command.when(lambda: len(_of_session(command.process.pid)) == 3)
        os.kill(command.process.pid, signal.SIGKILL)
        assert command.end() == -signal.SIGKILL
    assert command.stderr == ""


@signals(signal.SIGTERM)
def test_a_query_ends_while_it_prints(tmp_path: Path, warehouse: Path, number: signal.Signals) -> None:
    statement = "SELECT range FROM range(1000000000000)"
    with under_way(tmp_path, "sql", statement, "-w", warehouse, "--format", "csv") as command:
        command.when(lambda: command.stdout)
        command.interrupt(number)
        assert (command.end(), command.stderr) == (128 + number, LINE + "\n")


@signals(signal.SIGINT)
def test_a_query_ends_while_the_database_thinks(tmp_path: Path, warehouse: Path, number: signal.Signals) -> None:
    """Native code may keep the main thread, where Python handles signals, for minutes."""
    statement = "SELECT sum(a.range * b.range) FROM range(300000) a, range(300000) b"
    with under_way(tmp_path, "sql", statement, "-w", warehouse, python=("-c", SOON)) as command:
        command.when(lambda: command.cpu_s() > 1)
        command.interrupt(number)
        assert (command.end(), command.stdout, command.stderr) == (128 + number, "", LINE + "\n")


@signals(signal.SIGTERM)
def test_a_file_of_rows_is_whole_or_as_it_was(tmp_path: Path, warehouse: Path, number: signal.Signals) -> None:
    (tmp_path / "rows.csv").write_text("before\n")
    statement = "SELECT range FROM range(1000000000000)"
    with under_way(tmp_path, "sql", statement, "-w", warehouse, "--format", "csv", "-o", "rows.csv") as command:
        command.when(lambda: left(tmp_path))
        command.interrupt(number)
        assert (command.end(), command.stderr) == (128 + number, LINE + "\n")
    assert (left(tmp_path), (tmp_path / "rows.csv").read_text()) == ([], "before\n")


def test_a_second_interrupt_changes_nothing(tmp_path: Path, traces: list[Path], warehouse: Path) -> None:
    shutil.copy(warehouse, tmp_path)
    with under_way(tmp_path, "analyze", *traces, "--jobs", "2") as command:
        command.when(lambda: "t0: loaded" in command.stderr)
        for _ in range(20):
            command.interrupt(signal.SIGINT)
        assert command.end() == 130
    assert command.stderr.splitlines()[-1] == LINE
    assert command.stderr.count(LINE) == 1
    assert left(tmp_path) == []


IMPORTED = (
    "ridgeline.terminal",
    "click.core",
    "ridgeline.capture.configuration.points",
    "ridgeline.analyze.theory.output",
)


@pytest.mark.parametrize(
    ("imported", "number"),
    # one signal each, and the other in an exhaustive run
    [(name, number) for at, name in enumerate(IMPORTED) for number in SIGNALS[:: (-1) ** at][: pick(1, 2)]],
    ids=str,
)
def test_an_interrupt_while_modules_are_imported_is_one_line(
    tmp_path: Path, imported: str, number: signal.Signals
) -> None:
    """Python itself tells of every import that is done."""
    with under_way(tmp_path, *THEORY, python=("-X", "importtime")) as command:
        command.when(lambda: f" {imported}\n" in command.stderr)
        command.interrupt(number)
        code = command.end()
    said = [line for line in command.stderr.splitlines() if not line.startswith("import time:")]
    assert (code, said) in ((128 + number, [LINE]), (0, []))


def test_what_a_shell_lets_run_in_the_background_is_not_interrupted(tmp_path: Path) -> None:
    code = f"import signal, os, sys; signal.signal(2, signal.SIG_IGN); os.execv(sys.executable, {[sys.executable]!r}"
    script = f"{code} + ['-X', 'importtime', '-m', 'ridgeline', *{THEORY!r}])"
    pipe = subprocess.PIPE
    start = [sys.executable, "-c", script]
    command = subprocess.Popen(start, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    assert command.stderr is not None
    for line in command.stderr:
        if line.endswith(" ridgeline.terminal\n"):
            os.killpg(command.pid, signal.SIGINT)
    assert command.communicate(timeout=LIMIT_S)[0] != ""
    assert command.returncode == 0


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the first of two points captured, and the configurations of it and of both."""
    folder = tmp_path_factory.mktemp("captured")
    lines = ('model = "tiny-llama"', 'mode = "ar"', "prompt_tokens = 8", "generated_tokens = 4", "repeats = 1")
    common = "\n".join((*lines, 'device = "cpu"', 'experiment = "both"', ""))
    (folder / "one.toml").write_text(common)
    (folder / "two.toml").write_text(common + "batch = [1, 2]\n")
    capture(folder, "one.toml")
    return folder


def capture(folder: Path, configuration: str) -> list[sweep.RunResult]:
    """Capture a configuration in this process."""
    with pytest.MonkeyPatch.context() as patch:
        quicken(patch)
        return sweep.run(sweep.load(folder / configuration), folder / "runs", isolate=False)


@signals(signal.SIGTERM)
def test_capture_keeps_the_points_that_it_named(tmp_path: Path, captured: Path, number: signal.Signals) -> None:
    shutil.copytree(captured, tmp_path, dirs_exist_ok=True)
    (first,) = [path.name for path in (tmp_path / "runs").iterdir() if path.is_dir()]
    with under_way(tmp_path, "capture", "two.toml") as command:
        command.when(lambda: left(tmp_path))
        command.interrupt(number)
        assert (command.end(), command.stdout) == (128 + number, "")
    assert command.stderr.splitlines() == [f"ridgeline: {first}: captured before, skipped", LINE]
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["ceilings.json", first]
    assert [(result.outcome, result.skipped) for result in capture(tmp_path, "two.toml")] == [
        ("ok", True),
        ("ok", False),
    ]
    assert len(list((tmp_path / "runs").glob("*/run.json"))) == 2


def anything(folder: Path, warehouse: Path) -> dict[str, tuple[object, ...]]:
    """A command of every kind that does its work in a second or so; those that write do so below `out`."""
    base, other = sorted(path.name for path in H200.iterdir() if path.is_dir())[:2]
    return {
        "theory": THEORY,
        "sql": ("sql", "SELECT * FROM kernel_roofline", "-w", warehouse, "--format", "csv", "-o", "out/rows.csv"),
        "report": ("report", "-w", warehouse, "-o", "out"),
        "compare": ("compare", base, other, "-w", warehouse, "-o", "out"),
        "reprice": ("reprice", "-w", folder / "copy.duckdb"),
        "export": ("export", "-w", warehouse, "out/lake"),
        "analyze": ("analyze", H200, "-w", "out/w.duckdb"),
    }


NAMES = ("theory", "sql", "report", "compare", "reprice", "export", "analyze")


@pytest.mark.parametrize(
    "name",
    [
        *("sql", "report", "reprice", "analyze"),
        # these write nothing, or by the same means as those above
        *(pytest.param(name, marks=pytest.mark.exhaustive) for name in ("theory", "compare", "export")),
    ],
)
def test_any_command_at_any_moment(tmp_path: Path, warehouse: Path, name: str) -> None:
    """Every other command meets the other signal, and all meet both in an exhaustive run."""
    (tmp_path / "out").mkdir()
    (tmp_path / "copy.duckdb").write_bytes(warehouse.read_bytes())
    arguments = anything(tmp_path, warehouse)[name]
    moments = random.Random(name)
    for number in SIGNALS[:: (-1) ** NAMES.index(name)][: pick(1, 2)]:
        with under_way(tmp_path, *arguments, python=("-X", "importtime")) as command:
            command.when(lambda: " ridgeline.terminal\n" in command.stderr)
            time.sleep(moments.uniform(0, 1.5))
            command.interrupt(number)
            code = command.end()
        said = [line for line in command.stderr.splitlines() if not line.startswith("import time:")]
        assert code in (0, 128 + number), said
        assert (said[-1:] == [LINE]) == (code != 0)
        assert not [line for line in said if line != LINE and not line.startswith("ridgeline: ")]
        assert left(tmp_path) == []
    run(tmp_path, *arguments)
    assert left(tmp_path) == []


@signals(signal.SIGINT)
def test_ceilings_are_whole_or_absent(tmp_path: Path, number: signal.Signals) -> None:
    with under_way(tmp_path, "ceilings", python=("-X", "importtime")) as command:
        command.when(lambda: " torch\n" in command.stderr)
        time.sleep(random.Random(number).uniform(0, 2))
        command.interrupt(number)
        assert (command.end(), command.stdout) == (128 + number, "")
    said = [line for line in command.stderr.splitlines() if not line.startswith("import time:")]
    assert said == [LINE]
    assert {path.name for path in tmp_path.iterdir()} == {"stdout.txt", "stderr.txt"}


@pytest.mark.exhaustive
@signals(signal.SIGTERM)
def test_a_demo_keeps_whole_points_alone(tmp_path: Path, captured: Path, number: signal.Signals) -> None:
    """The ceilings are there already, so the capture begins at once."""
    (tmp_path / "demo" / "runs").mkdir(parents=True)
    shutil.copy(captured / "runs" / "ceilings.json", tmp_path / "demo" / "runs")
    with under_way(tmp_path, "demo") as command:
        command.when(lambda: "tokens/s" in command.stderr and left(tmp_path))
        command.interrupt(number)
        assert (command.end(), command.stdout) == (128 + number, "")
    assert command.stderr.splitlines()[-1] == LINE
    assert left(tmp_path) == []
    points = [path for path in (tmp_path / "demo" / "runs").iterdir() if path.is_dir()]
    assert points
    assert all((point / "run.json").exists() for point in points)


@signals(signal.SIGINT)
def test_hta_under_way_costs_nothing_loaded(tmp_path: Path, warehouse: Path, number: signal.Signals) -> None:
    pytest.importorskip("hta")
    shutil.copy(warehouse, tmp_path)
    path = kineto.write(tmp_path / "t.json", kineto.matmul_step() * 2)
    with under_way(tmp_path, "analyze", path, "--hta", "--jobs", "1") as command:
        command.when(lambda: len(_of_session(command.process.pid)) == 2)
        command.interrupt(number)
        assert command.end() == 128 + number
    assert command.stderr.splitlines() == [LINE]
    statement = "SELECT count(*) FROM kernels JOIN runs USING (run_id) WHERE name = 't'"
    assert query(tmp_path / "ridgeline.duckdb", statement) == [(8,)]
    assert query(tmp_path / "ridgeline.duckdb", "SELECT count(*) FROM hta_temporal") == [(0,)]


def test_a_report_while_runs_are_loaded_waits_or_says_who_has_the_file(
    tmp_path: Path, traces: list[Path], warehouse: Path
) -> None:
    shutil.copy(warehouse, tmp_path)
    (tmp_path / "reader").mkdir()
    with under_way(tmp_path, "analyze", *traces, "--jobs", "2") as writer:
        writer.when(lambda: "t0: loaded" in writer.stderr)
        with under_way(tmp_path / "reader", "report", "-w", tmp_path / "ridgeline.duckdb", "-o", "out") as reader:
            code = reader.end()
        assert code in (0, 1)
        assert len(reader.stderr.splitlines()) == code, reader.stderr
        assert (tmp_path / "reader" / "out" / "report.html").exists() == (code == 0)
        assert code == 0 or str(writer.process.pid) in reader.stderr
        assert writer.process.wait(LIMIT_S) == 0, writer.stderr
    assert query(tmp_path / "ridgeline.duckdb", "SELECT count(*) FROM runs WHERE name LIKE 't_'") == [(5,)]


def test_what_swallows_the_interrupt_is_ended(tmp_path: Path) -> None:
    """Native code and an `except BaseException` may swallow the exception."""
    code = (
        "import time\n"
        "from ridgeline import terminal\n"
        "terminal.GRACE_S = 0.1\n"
        "def swallow():\n"
        "    while True:\n"
        "        try: print('ready', flush=True), time.sleep(60)\n"
        "        except BaseException: pass\n"
        "terminal.run(swallow)\n"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        try:
            assert process.communicate(timeout=LIMIT_S) == ("ready\n", LINE + "\n")
        finally:
            process.kill()
    assert process.returncode == 143
