"""Sweeps whose points kill, hang or break the process that runs them, with a bench that imports no torch."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ridgeline.capture.errors import CaptureError, DeviceError
from ridgeline.capture.recording import run_directory
from ridgeline.capture.records import Record
from ridgeline.capture.sweep import worker
from ridgeline.capture.sweep.session import Session, ended_by_sigterm
from ridgeline.capture.sweep.worker import Worker
from tests.capture.benches import log, make_point

pytestmark = pytest.mark.process
ROOT = Path(__file__).parents[3]
FAKE = "tests.capture.benches:Fake"
OK = {"run.json", "trace.json.gz", "ceilings.json"}


def sweep(out: Path, *names: str, counters: str = "off", progress: Callable[[str], None] = lambda _: None) -> list[Any]:
    points = [make_point(name) for name in names]
    return [record for record, _ in Session(points, out, progress, counters=counters, bench=Worker(FAKE))]


def files(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(condition: Callable[[], object], limit_s: float = 20) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def test_points_share_a_child_that_ends_with_the_sweep(tmp_path: Path) -> None:
    messages: list[str] = []
    results = sweep(tmp_path, "a", "b", progress=messages.append)
    assert [result.outcome for result in results] == ["ok", "ok"]
    (pid,) = {pid for pid, *_ in log(tmp_path)}
    assert pid != os.getpid()
    assert not is_running(pid)
    assert messages == [
        "ceilings: memory",
        "1/2 a: making weights",
        "1/2 a: timing, repeat 1 of 3",
        "2/2 b: making weights",
        "2/2 b: timing, repeat 1 of 3",
    ]
    assert files(tmp_path) == {".log", "ceilings.json", "a", "b"}
    assert files(tmp_path / "a") == OK
    assert run_directory.read(tmp_path / "a") == results[0]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sigkill", "the worker was killed by SIGKILL (out of memory?) while timing"),
        ("segfault", "the worker crashed with SIGSEGV while timing; it wrote: native.cpp:12: all is lost"),
        ("exit", "the worker ended with exit code 7 while timing"),
        ("raise", "ValueError: odd"),
    ],
)
def test_a_point_that_ends_its_process_is_an_error_and_the_next_one_runs(
    tmp_path: Path, name: str, message: str
) -> None:
    failed, good = sweep(tmp_path, name, "next")
    assert (failed.outcome, failed.message) == ("error", message)
    assert (failed.name, failed.config["prompt_tokens"], failed.environment.device) == (name, 8, "Fake 1000")
    assert run_directory.read(tmp_path / name) == failed
    assert files(tmp_path / name) == {"run.json", "ceilings.json"}
    assert (good.outcome, files(tmp_path / "next")) == ("ok", OK)
    again = sweep(tmp_path, name, "next")
    assert [result.outcome for result in again] == ["error", "ok"]
    assert [called for _, method, called in log(tmp_path) if method == "record"] == [name, "next", name]


def test_what_a_child_writes_reaches_neither_the_terminal_nor_another_points_message(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _, failed = sweep(tmp_path, "noisy", "sigkill")
    assert str(failed.message).endswith("while timing")
    assert capfd.readouterr() == ("", "")


def test_an_error_that_stays_with_the_context_replaces_the_child(tmp_path: Path) -> None:
    sweep(tmp_path, "plain", "after-plain", "assert", "after-assert")
    pids = {name: pid for pid, _, name in log(tmp_path)}
    assert pids["plain"] == pids["after-plain"] == pids["assert"] != pids["after-assert"]


def test_a_context_lost_by_half_of_the_layers_replaces_the_child_and_keeps_the_point(tmp_path: Path) -> None:
    results = sweep(tmp_path, "half-lost", "next", counters="auto")
    assert [result.outcome for result in results] == ["ok", "ok"]
    pids = {(method, name): pid for pid, method, name in log(tmp_path)}
    assert pids["record", "half-lost"] != pids["count-auto", "half-lost"] == pids["record", "next"]


def test_memory_that_ran_out_inside_something_else_replaces_the_child(tmp_path: Path) -> None:
    points = [make_point("captured", batch=8), make_point("next", batch=4)]
    results = [record for record, _ in Session(points, tmp_path, lambda _: None, counters="off", bench=Worker(FAKE))]
    assert [result.outcome for result in results] == ["oom", "ok"]
    assert len({pid for pid, method, _ in log(tmp_path) if method == "record"}) == 2


def test_counters_are_added_to_a_recorded_point(tmp_path: Path) -> None:
    (result,) = sweep(tmp_path, "a", counters="cupti")
    assert result.counters == {"outcome": "ok", "method": "cupti"}
    assert run_directory.read(tmp_path / "a") == result
    assert files(tmp_path / "a") == OK | {"trace.counters.csv.gz"}


def test_counters_are_not_read_where_nobody_asks_or_nothing_was_recorded(tmp_path: Path) -> None:
    sweep(tmp_path, "a", counters="off")
    sweep(tmp_path, "plain", "big", counters="auto")
    assert {method for _, method, _ in log(tmp_path)} == {"record"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("counters-hang", "the worker said nothing for 0.5 seconds while reading counters"),
        (
            "counters-segfault",
            "the worker crashed with SIGSEGV while reading counters; it wrote: native.cpp:12: all is lost",
        ),
        ("counters-raise", "ValueError: odd"),
    ],
)
def test_counters_that_fail_leave_the_point_as_recorded(
    tmp_path: Path, name: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "COUNTERS_LIMIT_S", 0.5)
    result, following = sweep(tmp_path, name, "next", counters="auto")
    assert (result.outcome, result.message) == ("ok", None)
    assert result.counters == {"outcome": "failed", "reason": reason}
    assert run_directory.read(tmp_path / name) == result
    assert files(tmp_path / name) == OK
    assert (tmp_path / name / "trace.json.gz").read_bytes() == b"trace"
    assert following.counters == {"outcome": "ok", "method": "auto"}
    assert not [pid for pid, *_ in log(tmp_path) if is_running(pid)]


def test_a_device_that_cannot_run_a_point_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="this device lacks bf16"):
        sweep(tmp_path, "a", "refused")
    assert files(tmp_path) == set()


def test_a_child_that_cannot_start_ends_the_sweep(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="the worker ended with exit code 3 while starting"):
        sweep(tmp_path, "unable")


def test_ceilings_that_cannot_be_measured_cost_no_run(tmp_path: Path) -> None:
    messages: list[str] = []
    first, second = sweep(tmp_path, "roofless", "next", progress=messages.append)
    assert (first.outcome, second.outcome) == ("ok", "ok")
    assert "ceilings: not measured: RuntimeError: no roof" in messages
    assert files(tmp_path / "next") == OK - {"ceilings.json"}


def test_an_interrupt_ends_the_child_and_leaves_completed_runs_alone(tmp_path: Path) -> None:
    def interrupt(text: str) -> None:
        if text.startswith("2/2 spin: timing"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(tmp_path, "a", "spin", progress=interrupt)
    assert files(tmp_path) == {".log", "ceilings.json", "a"}
    assert not [pid for pid, *_ in log(tmp_path) if is_running(pid)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
@pytest.mark.parametrize("name", ["spin", "hang"])
def test_a_sweep_that_is_ended_leaves_neither_child_nor_partial_directory(
    tmp_path: Path, number: signal.Signals, name: str
) -> None:
    code = (
        "from pathlib import Path; from tests.capture.sweep.test_worker import sweep, ended_by_sigterm\n"
        f"with ended_by_sigterm(): sweep(Path({str(tmp_path)!r}), 'a', {name!r})"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL) as parent:
        wait_for(lambda: list(tmp_path.glob(f".{name}.*.partial/trace.json.gz")))
        (pid,) = {pid for pid, *_ in log(tmp_path)}
        assert is_running(pid)
        parent.send_signal(number)
        status = parent.wait(20)
    assert status == (143 if number is signal.SIGTERM else -number)
    wait_for(lambda: not is_running(pid))
    assert files(tmp_path) == {".log", "ceilings.json", "a"}


def test_sigterm_stays_with_whoever_handles_it() -> None:
    def handler(*_: Any) -> None:
        """Somebody else's."""

    before = signal.signal(signal.SIGTERM, handler)
    try:
        with ended_by_sigterm():
            assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)
    with ended_by_sigterm():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_sweep_runs_in_any_thread(tmp_path: Path) -> None:
    found: list[Record] = []

    def run() -> None:
        with ended_by_sigterm():
            found.extend(sweep(tmp_path, "sigkill", "a"))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert [record.outcome for record in found] == ["error", "ok"]


def test_a_child_that_dies_between_points_is_no_points_fault(tmp_path: Path) -> None:
    session = iter(Session([make_point("a"), make_point("b")], tmp_path, print, counters="off", bench=Worker(FAKE)))
    assert next(session)[0].outcome == "ok"
    ((pid, *_),) = log(tmp_path)
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert next(session)[0].outcome == "ok"
    session.close()  # type: ignore[attr-defined]
