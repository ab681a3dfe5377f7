"""`ridgeline record --url` on the command line."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.capture.engines.stand_in import Sglang, Vllm, serving
from tests.capture.engines.test_recording import write_sglang, write_vllm
from tests.command_line import ridgeline


def test_a_server_is_recorded(tmp_path: Path) -> None:
    (tmp_path / "traces").mkdir()
    with serving(Vllm(write_vllm, tmp_path / "traces")) as url:
        arguments = ("record", "--url", url, "--out", tmp_path / "runs", "--name", "mine", "--seconds", 0)
        done = ridgeline(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert "name the folder with --traces DIR" in done.stderr
        done = ridgeline(*arguments, "--traces", tmp_path / "traces", "--experiment", "before", "--", "true")
    assert (done.returncode, done.stdout) == (0, "")
    lines = done.stderr.splitlines()
    assert lines[0] == f"ridgeline: recording {url}"
    assert lines[-1].endswith(f"vllm 0.26.0, 1 rank; next: ridgeline analyze {tmp_path / 'runs' / 'mine'}")
    assert (tmp_path / "runs" / "mine" / "trace.json.gz").exists()


def test_wrong_calls(tmp_path: Path) -> None:
    done = ridgeline("record", "--url", "http://127.0.0.1:9", "--warmup", 2, "--memory", "--out", tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "found --warmup, --memory with --url" in done.stderr
    done = ridgeline("record", "--url", "http://127.0.0.1:9", "--out", tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "no server answers at http://127.0.0.1:9" in done.stderr


@pytest.mark.process
def test_an_interrupt_ends_the_recording_and_keeps_it(tmp_path: Path) -> None:
    with serving(Sglang(write_sglang())) as url:
        command = [sys.executable, "-m", "ridgeline", "record", "--url", url, "--out", "runs", "--name", "mine"]
        with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            assert process.stderr.readline() == f"ridgeline: recording {url}; end it with Ctrl-C\n"
            process.send_signal(signal.SIGINT)
            rest = process.stderr.read()
    assert (process.returncode, rest.count("\n")) == (0, 1)
    assert rest.endswith("sglang 0.5.13, 1 rank; next: ridgeline analyze runs/mine\n")
    assert (tmp_path / "runs" / "mine" / "run.json").exists()
