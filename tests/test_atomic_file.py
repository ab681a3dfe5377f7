"""Files that appear complete or not at all; tests/capture/test_run_directory.py has the same for directories."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ridgeline.atomic_file import atomic_directory, atomic_file

ROOT = Path(__file__).parents[1]
HOLD = """
import sys
from pathlib import Path
from ridgeline.atomic_file import atomic_file
with atomic_file(Path(sys.argv[1])) as temporary:
    print(temporary.name, flush=True)
    sys.stdin.read()
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_replaces_the_old_one_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.write_text("old")
    with atomic_file(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert (names(tmp_path), target.read_text()) == (["a"], "new")


def test_a_block_that_raises_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_file(target) as temporary:
        raise KeyboardInterrupt(temporary.write_text("new"))
    assert (names(tmp_path), target.read_text()) == (["a"], "old")


def test_an_error_names_the_target_and_not_the_temporary(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as missing, atomic_file(tmp_path / "none" / "a"):
        pass
    assert missing.value.filename == str(tmp_path / "none" / "a")
    with pytest.raises(FileNotFoundError) as inside, atomic_directory(tmp_path / "a") as temporary:
        (temporary / "b" / "c").touch()
    assert inside.value.filename == str(tmp_path / "a" / "b" / "c")


def test_an_error_without_a_name_gets_that_of_the_target(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space") as full, atomic_file(tmp_path / "a"):
        raise OSError(28, "No space left on device")
    assert full.value.filename == str(tmp_path / "a")


@pytest.mark.process
def test_leftovers_of_killed_processes_are_deleted_and_files_of_living_ones_kept(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "a")]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        held = other.stdout.readline().strip()
        with atomic_file(tmp_path / "a"):
            assert names(tmp_path) == sorted([held, f".a.{os.getpid()}.partial"])
        assert names(tmp_path) == sorted([held, "a"])
        other.kill()
    assert held in names(tmp_path)
    with atomic_file(tmp_path / "a"):
        assert held not in names(tmp_path)
    assert names(tmp_path) == ["a"]


def test_a_directory_that_publish_does_not_move_is_deleted(tmp_path: Path) -> None:
    with atomic_directory(tmp_path / "a", lambda temporary, path: (temporary / "b").rename(path)) as temporary:
        (temporary / "b").touch()
        (temporary / "c").touch()
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").is_file()
