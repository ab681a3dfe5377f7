"""The command in processes of its own: exit codes, streams, signals, children, and a run directory or none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from ridgeline.capture import environment
from ridgeline.capture.ceilings import ceiling

pytestmark = pytest.mark.process
HERE = Path(__file__).parent
STEPS = ("--warmup", "1", "--timed", "2", "--traced", "2", "--counters", "off")


def record(out: Path, *program: object, name: str = "mine") -> subprocess.CompletedProcess[str]:
    """Record `program` into `out`, where the device has ceilings already."""
    out.mkdir(exist_ok=True)
    here = environment.describe(torch.device("cpu"))
    ceiling.save(out / ceiling.FILE_NAME, {"format": 1, "device": here.device, "torch": here.torch, "ceilings": []})
    command = [sys.executable, "-m", "ridgeline", "record", "--out", out, "--name", name, *STEPS, "--", *program]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120)


class Child(msgspec.Struct):
    status: int
    run: Any


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Child], subprocess.CompletedProcess[str], Path]:
    """What each child of ends.py left, by its way to end."""
    out = tmp_path_factory.mktemp("ends") / "runs"
    done = record(out, HERE / "ends.py")
    children = {}
    for line in done.stdout.splitlines():
        way, process, status = line.split(",")
        file = out / f"mine-{process}" / "run.json"
        children[way] = Child(int(status), json.loads(file.read_bytes()) if file.exists() else None)
    return children, done, out


def window(child: Child) -> list[int]:
    return [step["step"] for step in child.run["window"]]


def test_exit_codes_are_the_programs_own(ended: Any) -> None:
    children, done, _ = ended
    assert done.returncode == 5
    assert {way: child.status for way, child in children.items()} == {
        "returns early": 0,
        "raises late": 1,
        "raises inside": 1,
        "exits inside": 3,
        "is interrupted inside": -2,
        "is terminated inside": -15,
        "is killed late": -9,
        "_exits late": 4,
        "has no memory": 1,
        "has no host memory": 1,
        "forks inside": 0,
        "is a rank": 0,
        "calls nothing": 0,
    }


def test_a_run_directory_is_whole_or_absent(ended: Any) -> None:
    children, _, out = ended
    left = {way: child.run and (child.run["outcome"], window(child)) for way, child in children.items()}
    assert left == {
        "returns early": ("ok", [0]),
        "raises late": ("ok", [3, 4]),
        "raises inside": ("error", []),
        "exits inside": ("ok", [0]),
        "is interrupted inside": ("ok", [0]),
        "is terminated inside": None,
        "is killed late": ("ok", [3, 4]),
        "_exits late": ("ok", [3, 4]),
        "has no memory": ("oom", []),
        "has no host memory": ("oom", []),
        "forks inside": ("ok", [0]),
        "is a rank": None,
        "calls nothing": None,
    }
    files = {"run.json", "trace.json.gz", "trace.et.json.gz", "ceilings.json"}
    for directory in out.glob("mine-*"):
        assert not directory.name.startswith(".")
        assert {file.name for file in directory.iterdir()} <= files
    runs = [child for child in children.values() if child.run]
    assert len(list(out.glob("mine-*"))) == len(runs), "a fork inside of a step writes nothing"
    assert children["raises inside"].run["message"] == "ValueError: as planned"


def test_a_rank_has_a_directory_in_that_of_its_job(ended: Any) -> None:
    _, _, out = ended
    run = json.loads((out / "mine" / "rank1" / "run.json").read_bytes())
    assert (run["name"], run["job"]["rank"], run["job"]["world_size"]) == ("mine_rank1", 1, 2)


def test_stderr_has_the_programs_tracebacks_and_a_line_for_each_recording(ended: Any) -> None:
    _, done, _ = ended
    lines = done.stderr.splitlines()
    assert sum(line.startswith("ridgeline: recorded ") for line in lines) == 11
    assert lines.count("ValueError: as planned") == 2
    assert "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB" in lines
    others = [line for line in lines if not line.startswith(("ridgeline: recorded", "Traceback", "  "))]
    assert [line for line in others if "Error" not in line and "KeyboardInterrupt" not in line] == []


def test_a_program_without_torch_runs_unrecorded_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.chained = True\n")
    program = "import sys, os; print(sys.chained, 'capture' in sys.modules, sys.path[0] == '', len(sys.argv))"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]]))
        done = record(tmp_path / "runs", sys.executable, "-c", program, "--out", "theirs")
    assert (done.returncode, done.stdout) == (0, "True False True 3\n")
    assert done.stderr == (
        "ridgeline: nothing is recorded: the program imported no torch; expected a Python program that uses it, or a "
        "command that starts one\n"
    )


def test_a_program_with_a_module_called_ridgeline_keeps_it(tmp_path: Path) -> None:
    (tmp_path / "torch.py").touch()
    (tmp_path / "ridgeline.py").write_text("own = 3\n")
    (script := tmp_path / "main.py").write_text("import torch, ridgeline\nprint(ridgeline.own)\n")
    done = record(tmp_path / "runs", script)
    assert (done.returncode, done.stdout) == (0, "3\n")
    assert done.stderr == (
        "ridgeline: the program runs unrecorded: ImportError: the program has another module named ridgeline, "
        f"{tmp_path}/ridgeline.py; rename it to be recorded\n"
    )


def test_a_process_group_ends_when_the_program_destroys_it(tmp_path: Path) -> None:
    """The threads of a process group that the recorder kept could abort the process while Python ends."""
    script = tmp_path / "tp.py"
    script.write_text(
        "import weakref\n"
        "import torch, torch.distributed as dist\n"
        f"dist.init_process_group('gloo', init_method='file://{tmp_path}/store', rank=0, world_size=1)\n"
        "net = torch.nn.Linear(4, 4).requires_grad_(False)\n"
        "for _ in range(9):\n"
        "    dist.all_reduce(net(torch.ones(2, 4)))\n"
        "from torch.distributed.nn.functional import all_reduce\n"
        "print(all_reduce(torch.ones(1)).item())\n"
        "world = weakref.ref(dist.group.WORLD)\n"
        "dist.destroy_process_group()\n"
        "print(world())\n"
    )
    done = record(tmp_path / "runs", script)
    assert (done.returncode, done.stdout) == (0, "1.0\nNone\n")
    assert done.stderr.startswith("ridgeline: recorded ")


@pytest.mark.exhaustive
@pytest.mark.parametrize("outside", [True, False], ids=["record torchrun", "torchrun record"])
def test_ranks_under_torchrun(tmp_path: Path, outside: bool) -> None:
    script = tmp_path / "tp.py"
    script.write_text(
        "import torch, torch.distributed as dist\n"
        "torch.set_num_threads(1)\n"
        "dist.init_process_group('gloo')\n"
        "net = torch.nn.Linear(4, 4).requires_grad_(False)\n"
        "for _ in range(9):\n"
        "    dist.all_reduce(net(torch.ones(2, 4)))\n"
        "dist.destroy_process_group()\n"
    )
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    out = tmp_path / "runs"
    if outside:
        done = record(out, *torchrun, script)
    else:
        command = [*torchrun, "-m", "ridgeline", "record", "--out", out, "--name", "mine", *STEPS, "--", script]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    runs = [json.loads((out / "mine" / f"rank{rank}" / "run.json").read_bytes()) for rank in range(2)]
    assert [(run["name"], run["job"]["rank"], run["job"]["world_size"]) for run in runs] == [
        ("mine_rank0", 0, 2),
        ("mine_rank1", 1, 2),
    ]
    assert runs[0]["job"]["id"] == runs[1]["job"]["id"]
    assert [[step["step"] for step in run["window"]] for run in runs] == [[3, 4]] * 2
