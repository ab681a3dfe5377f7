"""Temporary directories: leftovers of a killed process are deleted, those of a live process stay."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_where_locks_are_unknown_nothing_of_others_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unable(*_: int) -> None:
        raise OSError("no locks here")

    monkeypatch.setattr("fcntl.flock", unable)
    left(tmp_path, ".a.123.partial")
    left(tmp_path, f".a.{os.getpid()}.partial")
    with run_directory.written(tmp_path / "a") as directory:
        assert names(directory) == set()
    assert names(tmp_path) == {"a", ".a.123.partial"}
