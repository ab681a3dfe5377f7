"""Temporary directories: leftovers of a killed process are deleted, those of a live process stay."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from ridgeline.capture.errors import CaptureError
from ridgeline.capture.recording import run_directory

HOLD = """
import sys
from pathlib import Path
from ridgeline.capture.recording import run_directory
with run_directory.written(Path(sys.argv[1])) as directory:
    print(directory.name, flush=True)
    sys.stdin.read()
"""
ROOT = Path(__file__).parents[2]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def left(folder: Path, name: str) -> Path:
    directory = folder / name
    directory.mkdir()
    (directory / "trace.json.gz").write_bytes(b"half")
    return directory


def test_what_was_left_of_a_point_goes_when_the_point_is_written(tmp_path: Path) -> None:
    left(tmp_path, ".a.123.partial")
    left(tmp_path, ".b.123.partial")
    with run_directory.written(tmp_path / "a") as directory:
        assert names(tmp_path) == {directory.name, ".b.123.partial"}
        assert names(directory) == set()
    assert names(tmp_path) == {"a", ".b.123.partial"}


def test_what_another_process_writes_stays_until_it_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "a")]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        other_name = other.stdout.readline().strip()
        with run_directory.written(tmp_path / "a"):
            assert other_name in names(tmp_path)
        assert names(tmp_path) == {"a", other_name}
        other.kill()
    assert names(tmp_path) == {"a", other_name}
    with run_directory.written(tmp_path / "a"):
        assert other_name not in names(tmp_path)


def test_what_a_process_of_the_same_number_left_is_no_obstacle(tmp_path: Path) -> None:
    with run_directory.written(tmp_path / "a") as directory:
        name = directory.name
    left(tmp_path, name)
    with run_directory.written(tmp_path / "b"), run_directory.written(tmp_path / "a") as directory:
        assert (directory.name, names(directory)) == (name, set())


def test_a_directory_that_is_no_run_is_never_removed(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"/a'"), run_directory.written(tmp_path / "a"):
        left(tmp_path, "a")
    assert (tmp_path / "a" / "trace.json.gz").read_bytes() == b"half"
    assert names(tmp_path) == {"a"}


def run(path: Path, **more: str) -> Path:
    path.mkdir(parents=True)
    (path / "run.json").write_bytes(msgspec.json.encode({"format": 1, "name": path.name, "outcome": "ok", **more}))
    return path


def test_a_recording_replaces_any_run_and_the_ranks_of_a_job(tmp_path: Path) -> None:
    run(tmp_path / "a", by="another program")
    run(tmp_path / "job" / "rank0")
    run(tmp_path / "job" / "rank13")
    (tmp_path / "job" / "ceilings.json").touch()
    for name in ("a", "job"):
        run_directory.refuse(tmp_path / name)
        with run_directory.written(tmp_path / name, replace=True) as directory:
            (directory / "run.json").touch()
        assert names(tmp_path / name) == {"run.json"}


@pytest.mark.parametrize(
    ("file", "content"),
    [("thesis.tex", ""), ("run.json", '{"scripts": {}}'), ("rank1/notes", ""), ("rank1/run.json", "half"), ("", "")],
)
def test_a_recording_replaces_nothing_else(tmp_path: Path, file: str, content: str) -> None:
    run(tmp_path / "a" / "rank0")
    other = tmp_path / "a" / file if file else tmp_path / "b"
    other.parent.mkdir(exist_ok=True)
    other.write_text(content)
    path = tmp_path / "a" if file else other
    with pytest.raises(CaptureError, match="exists and is no run; expected a run or nothing there"):
        run_directory.refuse(path)
    with pytest.raises(CaptureError), run_directory.written(path, replace=True):
        pass
    assert other.read_text() == content


def test_ranks_take_the_place_of_a_run_and_of_more_ranks(tmp_path: Path) -> None:
    run(tmp_path / "a")
    for name in ("trace.json.gz", "ceilings.json"):
        (tmp_path / "a" / name).touch()
    for name in ("rank0", "rank1", "rank2", ".rank0.123.partial"):
        run(tmp_path / "a" / name)
    (tmp_path / "a" / "rank3").mkdir()
    run_directory.make_room_for_ranks(tmp_path / "a", 2)
    assert names(tmp_path / "a") == {"rank0", "rank1", ".rank0.123.partial", "ceilings.json", "rank3"}


def test_where_locks_are_unknown_nothing_of_others_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unable(*_: int) -> None:
        raise OSError("no locks here")

    monkeypatch.setattr("fcntl.flock", unable)
    left(tmp_path, ".a.123.partial")
    left(tmp_path, f".a.{os.getpid()}.partial")
    with run_directory.written(tmp_path / "a") as directory:
        assert names(directory) == set()
    assert names(tmp_path) == {"a", ".a.123.partial"}
