"""README's section on a program before and after a change, command by command."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ridgeline.capture.ceilings import ceiling
from ridgeline.capture.ceilings.measure import measure
from tests import command_line
from tests.capture.quick import quicken

ROOT = Path(__file__).parents[1]
PROGRAM = """
import os, torch
torch.set_num_threads(1)
width = int(os.environ["WIDTH"])
net = torch.nn.Sequential(torch.nn.Linear(256, width), torch.nn.GELU(), torch.nn.Linear(width, 256))
with torch.inference_mode():
    for _ in range(40):
        net(torch.ones(64, 256))
"""


@pytest.mark.process
def test_two_recordings_compare_to_one_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "README.md").read_text().partition("## The same program before and after a change")[2]
    commands = [
        shlex.split(line, comments=True) for line in re.findall(r"^    ridgeline (.*)$", page, re.MULTILINE)[:3]
    ]
    (tmp_path / "decode.py").write_text(PROGRAM)
    (tmp_path / "runs").mkdir()
    quicken(monkeypatch)
    ceiling.save(tmp_path / "runs" / ceiling.FILE_NAME, measure("cpu"))  # or each recording measures its machine
    # side by side, for each process imports torch
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "ridgeline", *command],
            cwd=tmp_path, env={**os.environ, "WIDTH": width}, stderr=subprocess.PIPE, text=True,
        )
        for command, width in zip(commands[:2], ("4096", "64"), strict=True)
    ]  # fmt: skip
    for process, name in zip(running, ("before", "after"), strict=True):
        said = process.communicate()[1]
        assert (process.returncode, f"recorded runs/{name}" in said) == (0, True), said
    done = command_line.ridgeline(*commands[2], cwd=tmp_path)
    assert done.returncode == 0
    sides, verdict = done.stdout.split("\n\n")[:2]
    assert sides == "base   runs/before\nother  runs/after"
    # on a busy machine the steps of one stretch may differ more than the programs do
    change = r"(?:[0-9.]+ % faster|no change beyond noise)"
    assert re.match(rf"forward: {change}, [0-9.]+ ms to [0-9.]+ [mµ]s unprofiled \(noise ±", verdict), verdict
    assert "\n" not in verdict
