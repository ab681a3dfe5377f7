"""A command that comes to hold more than it may, whatever was estimated, ends with one line and nothing half-made."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import psutil
import pytest

from ridgeline.analyze.hta import tables
from ridgeline.analyze.resources import limits
from ridgeline.analyze.resources.memory_watch import WARN_SHARE, Held, watching
from tests.analyze import kineto
from tests.analyze.loading import dump, load, query

ROOT = Path(__file__).parents[1]
UNESTIMATED = """
import sys
from ridgeline.analyze import ingest
ingest.check_fits = lambda *_: None
sys.argv[0] = "ridgeline"
import os
from ridgeline import cli
leave = os._exit
def leaving(code):
    (line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
    open("peak", "w").write(str(int(line.split()[1]) << 10))
    leave(code)
os._exit = leaving
cli.main()
"""
"""The command, with an estimate that lets everything pass; it says what it held at most."""
pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not say what is held")


def analyze_unestimated(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", UNESTIMATED, "analyze", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=300, env=environment)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trace that needs more than 300 MB of memory."""
    path = tmp_path_factory.mktemp("large") / "large.json"
    text = kineto.text(kineto.matmul_step())
    begin, end = text.index("[", text.index("traceEvents")) + 1, text.rindex("]")
    path.write_text(text[:begin] + ",".join([text[begin:end]] * 50_000) + text[end:])
    return path


@pytest.mark.process
@pytest.mark.parametrize("jobs", [pytest.param("1", marks=pytest.mark.exhaustive), "2"])
def test_what_was_not_foreseen_ends_at_the_limit(tmp_path: Path, large: Path, jobs: str) -> None:
    kineto.write(tmp_path / "good.json", kineto.matmul_step())
    load(tmp_path / "w.duckdb", tmp_path / "good.json")
    before = dump(tmp_path / "w.duckdb")
    os.link(large, tmp_path / "large.json")
    done = analyze_unestimated(tmp_path, "large.json", "-w", "w.duckdb", "--memory", "300MB", "--jobs", jobs)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "ridgeline: more than 300 MB of memory would be needed: completed work was saved: allow more with --memory, "
        "or use fewer --jobs or shorter traces\n"
    )
    assert int((tmp_path / "peak").read_text()) <= 1.05 * 300e6  # on a busy machine the watching thread looks late
    assert dump(tmp_path / "w.duckdb") == before
    # where the limit came before the command had unwound, the next command sweeps its scratch folder
    assert load(tmp_path / "w.duckdb", tmp_path / "good.json") == [("good", "unchanged")]
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"good.json", "large.json", "w.duckdb", "peak"}


@pytest.mark.process
def test_what_fits_is_loaded(tmp_path: Path) -> None:
    kineto.write(tmp_path / "t.json", kineto.matmul_step())
    done = analyze_unestimated(tmp_path, "t.json", "-w", "w.duckdb", "--memory", "4GB")
    assert done.returncode == 0, done.stderr
    assert query(tmp_path / "w.duckdb", "SELECT name FROM runs") == [("t",)]


@pytest.fixture
def holder() -> Iterator[subprocess.Popen[bytes]]:
    """A process whose child's child holds 100 MB."""
    hold = "x = b'x' * 100_000_000; print(flush=True); import time; time.sleep(60)"
    start = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}])"
    with subprocess.Popen([sys.executable, "-c", start], stdout=subprocess.PIPE, process_group=0) as process:
        assert process.stdout
        process.stdout.readline()
        yield process
        os.killpg(process.pid, 9)


@pytest.mark.process
def test_children_of_children_count(holder: subprocess.Popen[bytes]) -> None:
    alone = psutil.Process(holder.pid).memory_info().rss
    assert 0 < alone < 90_000_000
    assert Held(holder.pid).bytes() > 100_000_000 + alone
    assert Held().bytes() > Held(holder.pid).bytes()


@pytest.mark.process
def test_who_is_gone_holds_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert Held(process.pid).bytes() == 0


def test_giving_up_comes_first_and_the_end_after_its_time() -> None:
    held, calls, ended = Held().bytes(), [], Event()

    def end() -> None:
        calls.append(("end", time.monotonic()))
        ended.set()

    with watching(int((held + (1 << 20)) / 0.5), lambda: calls.append(("give up", 0.0)), end, 0.1):
        time.sleep(0.1)
    assert calls == []
    with watching(int(held / (WARN_SHARE + 0.03)), lambda: calls.append(("give up", 0.0)), end, 0.1):
        assert ended.wait(20)
    assert [name for name, _ in calls] == ["give up", "end"]


@pytest.mark.process
def test_hta_is_stopped_at_its_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "PROGRAM", "x = b'x' * 100_000_000; import time; time.sleep(60)")
    findings = tables.examine(tmp_path / "t.json", 60, 50_000_000)
    assert findings == tables.Findings({}, ["load: stopped at 50 MB of memory: try a larger --memory"])


def test_limits_of_the_groups_around_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slice" / "scope").mkdir(parents=True)
    (tmp_path / "slice" / "memory.max").write_text(f"{100 << 20}\n")
    (tmp_path / "slice" / "scope" / "memory.max").write_text("max\n")
    (tmp_path / "groups").write_text("4:cpu:/other\n0::/slice/scope\n")
    monkeypatch.setattr(limits, "_LIMITS", (str(tmp_path / "memory.max"), str(tmp_path / "v1" / "memory.limit")))
    monkeypatch.setattr(limits, "_GROUPS", tmp_path / "groups")
    assert limits.default_bytes() == int(0.6 * (100 << 20))
