"""Concurrent processes, full disks, missing permissions, kills: committed rows stay, and errors are one line."""

from __future__ import annotations

import ctypes
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from ridgeline.analyze.ingest import analyze
from ridgeline.warehouse import WarehouseError, connect, database
from ridgeline.warehouse.schema.tables import RUN_TABLES
from ridgeline.warehouse.verify import verify
from tests.analyze import kineto
from tests.analyze.loading import RUN_JSON, dump, query, run_directory
from tests.command_line import ridgeline
from tests.sampling import exhaustive

pytestmark = pytest.mark.process
ROOT = Path(__file__).parents[2]
KILLS = range(60) if exhaustive else (0, 1, 4, 5)
"""Rounds: in six of them a kill comes after each number of runs from 0 to 5; the sample has 0 and 4 of a new warehouse,
and 1 and 5 of another, beside readers."""
HOLD = """
import sys
from ridgeline import warehouse
connection = warehouse.connect(sys.argv[1], read_only=len(sys.argv) > 2)
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five traces of different lengths with the same operators."""
    folder = tmp_path_factory.mktemp("safety") / "traces"
    folder.mkdir()
    for n in range(5):
        kineto.write(
            folder / f"step{n}.json",
            kineto.matmul_step() + [kineto.kernel("k", 200 + i, 1) for i in range(1, 4000, 5 - n)],
        )
    return folder


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse with one run."""
    folder = tmp_path_factory.mktemp("loaded")
    analyze([kineto.write(folder / "before.json", kineto.matmul_step())], folder / "w.duckdb")
    return folder / "w.duckdb"


@pytest.fixture
def warehouse(tmp_path: Path, loaded: Path) -> Path:
    """A copy of the warehouse with one run."""
    return Path(shutil.copy(loaded, tmp_path))


def start(
    *arguments: object, before: Callable[[], None] | None = None, stderr: IO[str] | int = subprocess.PIPE
) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ridgeline", *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=stderr, text=True, start_new_session=True, preexec_fn=before
    )


@contextmanager
def held(warehouse: Path, *, read_only: bool = False) -> Iterator[int]:
    """Hold the warehouse open in another process; yield its PID."""
    command = [sys.executable, "-c", HOLD, str(warehouse), *(["read"] if read_only else [])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as holder:
        assert holder.stdin
        assert holder.stdout
        assert holder.stdout.readline() == "open\n"
        yield holder.pid
        holder.stdin.close()


# Concurrent processes.


def test_a_second_process_names_the_pid_that_holds_the_lock(
    warehouse: Path, traces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "LOCK_WAIT_S", 0.1)
    with held(warehouse) as pid:
        said = f"ridgeline: {warehouse}: another process (PID {pid}) has it open: try again when it is done\n"
        for command in (("analyze", traces), ("reprice",), ("forget", "before"), ("sql", "SELECT 1"), ("verify",)):
            done = ridgeline(*command, "-w", warehouse)
            assert (done.returncode, done.stdout, done.stderr) == (1, "", said)
    assert ridgeline("analyze", traces, "-w", warehouse).returncode == 0


def test_readers_keep_a_writer_out_and_let_each_other_in(
    warehouse: Path, traces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "LOCK_WAIT_S", 0.1)
    with held(warehouse, read_only=True):
        assert ridgeline("sql", "SELECT 1", "-w", warehouse).returncode == 0
        done = ridgeline("analyze", traces, "-w", warehouse)
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
        assert "has it open: try again when it is done" in done.stderr


def test_a_process_waits_for_a_lock_that_is_released_soon(warehouse: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "LOCK_WAIT_S", 60.0)
    with held(warehouse) as pid:
        naps: list[float] = []

        def sleep(seconds: float) -> None:
            naps.append(seconds)
            if len(naps) == 3:
                os.kill(pid, signal.SIGKILL)

        monkeypatch.setattr(time, "sleep", sleep)
        connect(warehouse).close()
    assert len(naps) >= 3


@pytest.mark.usefixtures("made_warehouses")
def test_two_processes_that_create_the_same_warehouse_both_load(
    tmp_path: Path, traces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slower process finds the other's warehouse when its own is ready, and keeps the rows in it."""
    path = tmp_path / "new.duckdb"
    other = run_directory(tmp_path / "other", RUN_JSON | {"name": "other", "outcome": "oom"}, trace=False)
    make = database._finish_schema

    def slow(connection: Any) -> None:
        make(connection)
        if not path.exists():
            process = start("analyze", other, "-w", path)
            process.communicate(timeout=300)
            assert process.returncode == 0

    monkeypatch.setattr(database, "_finish_schema", slow)
    monkeypatch.setattr(database, "template_path", lambda: tmp_path / "none")  # a copy of it would not be slow
    assert [result.outcome for result in analyze([traces / "step2.json"], path)] == ["loaded"]
    assert query(path, "SELECT name FROM runs ORDER BY name") == [("other",), ("step2",)]
    assert [file.name for file in tmp_path.glob(".*")] == []


# Full disks and missing permissions.


@pytest.mark.parametrize("extra_bytes", [0, pytest.param(200_000, marks=pytest.mark.exhaustive), 600_000])
def test_a_full_disk_is_one_line_and_loses_nothing(warehouse: Path, traces: Path, extra_bytes: int) -> None:
    before = dump(warehouse)
    room = warehouse.stat().st_size + extra_bytes
    process = start("analyze", traces, "-w", warehouse, before=lambda: _limit(room))
    _, said = process.communicate(timeout=300)
    assert (process.returncode, said.splitlines()[-1:]) == (1, [line for line in said.splitlines() if "cannot" in line])
    assert said.splitlines()[-1].startswith(f"ridgeline: {warehouse}: cannot be ")
    after = dump(warehouse)
    assert [row for row in after["kernels"] if row in before["kernels"]] == before["kernels"]
    assert [run.findings for run in verify(warehouse)[0] if run.findings] == []
    assert ridgeline("analyze", traces, "-w", warehouse).returncode == 0
    assert len(query(warehouse, "FROM runs")) == 6


def _limit(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize("room", [100_000, 2_000_000])
def test_no_room_for_a_new_warehouse_or_its_first_run_leaves_none(tmp_path: Path, traces: Path, room: int) -> None:
    path = tmp_path / "new.duckdb"
    process = start("analyze", traces, "-w", path, before=lambda: _limit(room))
    _, said = process.communicate(timeout=300)
    assert (process.returncode, len(said.splitlines())) == (1, 1)
    assert said.startswith(f"ridgeline: {path}: cannot be ")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path, traces: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    path = place / "w.duckdb"
    analyze([traces / "step1.json"], path)
    before = path.read_bytes()
    path.chmod(0o444)
    place.chmod(0o555)
    for target in (path, place / "new.duckdb"):
        process = start("analyze", traces, "-w", target, before=_obey_permissions)
        _, said = process.communicate(timeout=300)
        assert (process.returncode, len(said.splitlines())) == (1, 1), said
        assert said.startswith(f"ridgeline: {target}: cannot be opened: ")
        assert "Permission denied" in said
    reader = start("sql", "SELECT count(*) AS n FROM runs", "-w", path, "--format", "csv", before=_obey_permissions)
    assert reader.communicate(timeout=300) == ("n\n1\n", "")
    assert ([file.name for file in place.iterdir()], path.read_bytes()) == (["w.duckdb"], before)


def _obey_permissions() -> None:
    """Give up root's right to ignore permissions: drop CAP_DAC_OVERRIDE from the bounding set before exec."""
    ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)


# Killed.


@pytest.mark.usefixtures("made_warehouses")  # it sweeps the leftovers of a killed process
def test_killed_at_any_moment_it_holds_what_was_committed(
    warehouse: Path, traces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kill a load before a run and after the last, into a warehouse with a run and into a new one.

    In half of the rounds other processes read meanwhile.
    """
    monkeypatch.setattr(database, "LOCK_WAIT_S", 0.0)
    kept = shutil.copy(warehouse, tmp_path / "kept.duckdb")
    began, log = time.monotonic(), tmp_path / "stderr.txt"
    lasts_s: list[float] = []
    """Seconds until the first run is stored, between runs, and after the last."""
    with _analyzing(traces, warehouse, log) as process:
        ended = False
        while not ended:
            ended = process.poll() is not None
            while _runs(log) > len(lasts_s):  # of several at once, the later ones take no time
                lasts_s.append(time.monotonic() - began - sum(lasts_s))
            time.sleep(0.002)
    lasts_s.append(time.monotonic() - began - sum(lasts_s))
    assert (process.returncode, len(lasts_s)) == (0, 6)
    analyze([traces], tmp_path / "fresh.duckdb")
    complete = {False: dump(warehouse), True: dump(tmp_path / "fresh.duckdb")}
    moments, held_runs, reads = random.Random(8), set(), 0
    for n in KILLS:
        round_, there = divmod(n, len(lasts_s))
        is_new = (there - round_) % 4 == 0
        warehouse.unlink(missing_ok=True)
        Path(f"{warehouse}.wal").unlink(missing_ok=True)
        if not is_new:
            shutil.copy(kept, warehouse)
        with _analyzing(traces, warehouse, log) as process:
            while _runs(log) < there:
                assert process.poll() is None
                reads += n % 2 and _read(warehouse, complete[is_new])
                time.sleep(0.1 if n % 2 else 0.002)  # a writer gives up on readers that leave it no moment
            time.sleep(moments.uniform(0, lasts_s[there]))
            os.killpg(process.pid, signal.SIGKILL)
        held_runs.add(_read(warehouse, complete[is_new]) if warehouse.exists() else 0)
        if warehouse.exists():
            assert [run for run in verify(warehouse)[0] if run.findings] == []
        assert "failed" not in {result.outcome for result in analyze([traces], warehouse)}
        assert _read(warehouse, complete[is_new]) == 5 + (not is_new)
        assert list(tmp_path.glob(".*")) == []
    assert len(held_runs) >= 3, held_runs
    assert reads


@contextmanager
def _analyzing(traces: Path, warehouse: Path, log: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a process that loads the traces and writes a line into the log after each."""
    with log.open("w") as stderr, start("analyze", traces, "-w", warehouse, stderr=stderr) as process:
        yield process


def _runs(log: Path) -> int:
    return log.read_text().count(": loaded, ")


def _read(warehouse: Path, complete: dict[str, list[tuple[Any, ...]]]) -> int:
    """Assert that every stored run is complete; return their number, 0 if the warehouse cannot be read."""
    try:
        connection = connect(warehouse, read_only=True)
    except WarehouseError as e:
        if "has it open: try again when it is done" in str(e) or "no such warehouse" in str(e):
            return 0
        raise
    with connection:
        runs = {run_id for (run_id,) in connection.execute("SELECT run_id FROM runs").fetchall()}
        for table in RUN_TABLES:
            rows = connection.execute(f"SELECT * FROM {table} ORDER BY ALL").fetchall()
            assert rows == [row for row in complete[table] if row[0] in runs or row[0] is None]
    return len(runs)
