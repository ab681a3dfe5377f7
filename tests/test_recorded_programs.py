"""A program of someone else's, recorded and analyzed: the example of capture/README.md and a training loop."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import ridgeline
from tests import command_line
from tests.analyze.loading import load, query
from tests.capture.quick import quicken

ROOT = Path(__file__).parents[1]


class Recorded:
    """A folder with the runs `mine` and `training`, and their warehouse."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.warehouse = folder, folder / "w.duckdb"

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        return query(self.warehouse, sql)


def train() -> None:
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    schedule = torch.profiler.schedule(skip_first=1, wait=4, warmup=1, active=2, repeat=1)
    with ridgeline.record("runs/training", modules=[net], schedule=schedule, mode="train", batch=4) as rec:
        for _ in range(10):
            net(torch.ones(4, 8)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            rec.step()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    made = Recorded(tmp_path_factory.mktemp("recorded"))
    page = (ROOT / "capture" / "README.md").read_text()
    (example,) = re.findall(r"```python\n# mine\.py.*?\n(.*?)```", page, flags=re.DOTALL)
    with pytest.MonkeyPatch.context() as patch:
        quicken(patch)
        patch.chdir(made.folder)
        exec(compile(example, "mine.py", "exec"), {"__name__": "__main__"})
        train()
    assert load(made.warehouse, made.folder / "runs") == [("mine", "loaded"), ("training", "loaded")]
    return made


def test_ceilings_are_measured_once_for_a_folder(recorded: Recorded) -> None:
    files = [recorded.folder / "runs" / part / "ceilings.json" for part in (".", "mine", "training")]
    assert len({file.read_bytes() for file in files}) == 1


def test_steps_have_their_kind_operators_and_modules(recorded: Recorded) -> None:
    runs = "JOIN runs USING (run_id) WHERE runs.name = 'mine'"
    assert recorded.query(f"SELECT step, phase, kind, tokens, flops FROM step_summary {runs} ORDER BY step") == [
        (index, "denoise", "refresh" if index % 4 == 0 else "reuse", 4, flops)
        for index in range(8)
        for flops in [pytest.approx((64 if index % 4 == 0 else 32) * 512 * 2048 * 4, rel=0.01)]
    ]
    modules = recorded.query(
        f"SELECT module, count(DISTINCT step) FROM kernel_roofline {runs.replace('runs.name', 'kernel_roofline.name')} "
        "AND operator IN ('aten::addmm', 'aten::gelu') GROUP BY ALL ORDER BY ALL"
    )
    assert modules == [("0", 8), ("1", 8), ("2", 8)]


def test_a_generation_s_speed_is_that_of_its_unprofiled_repeats(recorded: Recorded) -> None:
    run = json.loads((recorded.folder / "runs" / "mine" / "run.json").read_bytes())
    ends = sorted(each["value_ns"] for each in run["timings"] if each["metric"] == "end_to_end")
    (row,) = recorded.query(
        "SELECT mode, execution, batch, tokens_per_s, step_ns, outcome FROM mode_summary WHERE name = 'mine'"
    )
    assert row[:3] == ("my_dual", "eager", 1)
    assert row[3] == pytest.approx(32 / ends[1] * 1e9)
    reuses = [each["value_ns"] for each in run["timings"] if each["metric"] == "step" and each["kind"] == "reuse"]
    assert min(reuses) <= row[4] <= max(reuses)
    assert row[5] == "ok"


def test_the_profiler_s_overhead_is_the_difference_to_timed_steps(recorded: Recorded) -> None:
    rows = recorded.query(
        "SELECT runs.name, phase, kind, overhead.steps, abs(profiler_overhead_ns - (wall_ns - unprofiled_ns)) < 1 "
        "FROM overhead JOIN runs USING (run_id) ORDER BY ALL"
    )
    assert rows == [
        ("mine", "denoise", "refresh", 2, True),
        ("mine", "denoise", "reuse", 6, True),
        ("training", "step", "step", 2, True),
    ]


def test_the_backward_pass_of_a_training_step_has_the_modules_of_its_forward(recorded: Recorded) -> None:
    rows = recorded.query(
        "SELECT DISTINCT module FROM kernel_roofline WHERE name = 'training' AND operator = 'aten::mm' ORDER BY ALL"
    )
    assert rows == [("0",), ("2",)]


def test_a_warehouse_of_recordings_is_whole(recorded: Recorded) -> None:
    done = command_line.ridgeline("verify", "-w", recorded.warehouse)
    assert (done.returncode, done.stderr) == (0, "")
