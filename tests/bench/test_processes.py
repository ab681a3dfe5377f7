import sys

import pytest

from tests.bench import processes

pytestmark = pytest.mark.process

HOLD = "x = bytearray(120_000_000); x[::4096] = bytes(len(x[::4096])); import time; time.sleep(0.3)"


def test_time_output_and_memory() -> None:
    run = processes.run([sys.executable, "-c", f"{HOLD}; print('done')"])
    assert run.stdout == "done\n"
    assert run.seconds > 0.3
    assert run.peak_bytes > 120_000_000


def test_sampling_adds_up_the_tree() -> None:
    code = f"import subprocess, sys; p = [subprocess.Popen([sys.executable, '-c', {HOLD!r}]) for _ in range(2)]; "
    run = processes.run([sys.executable, "-c", code + "[q.wait() for q in p]"], sample=True)
    assert run.peak_bytes > 240_000_000


def test_failure_shows_what_the_command_said() -> None:
    with pytest.raises(processes.CommandFailed, match="exited with 3:\nno such trace"):
        processes.run([sys.executable, "-c", "import sys; print('no such trace', file=sys.stderr); sys.exit(3)"])
