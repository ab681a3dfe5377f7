"""The corpus is read as it should be, and the fuzzer finds nothing new within its time."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.fuzz_reader import check
from tests.sampling import pick

FOLDER = Path(__file__).parent
CORPUS = sorted((FOLDER / "corpus").iterdir())
SECONDS = int(os.environ.get("RIDGELINE_FUZZ_SECONDS", pick(3, 30)))


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_corpus(path: Path, tmp_path: Path) -> None:
    assert check(tmp_path / "t.json", path.read_bytes()) == path.name.startswith("whole")


@pytest.mark.process
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed")
def test_the_fuzzer_finds_nothing(tmp_path: Path) -> None:
    (tmp_path / "found").mkdir()
    options = [f"-max_total_time={SECONDS}", "-timeout=30", "-rss_limit_mb=4096", "-max_len=8192"]
    folders = [str(tmp_path / "found"), str(FOLDER / "corpus")]
    command = [sys.executable, str(FOLDER / "fuzz_reader.py"), *options, f"-artifact_prefix={tmp_path}/", *folders]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS + 240)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "DONE" in done.stderr
