"""Python frames around launches, and the user's own line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.analyze import kineto
from tests.analyze.attribution.launching import backward, call, forward, launching
from tests.analyze.kineto import frame

STEP, CALL = "/home/x/train.py(12): step", "torch/nn/modules/module.py(1501): _call_impl"


def nested(*names: str) -> list[kineto.Event]:
    """Frames, each inside the one before, around a kernel."""
    frames = [frame(name, float(at), 100.0 - 2 * at) for at, name in enumerate(names)]
    return [*frames, *call("k", 40.0, 1)]


def test_frames_are_folded_without_modules_and_addresses(tmp_path: Path) -> None:
    names = ["nn.Module: Net_0", STEP, CALL, "<built-in method mm of Tensor object at 0x7f00ab>"]
    found = launching(tmp_path, nested(*names))
    assert found.stack_of() == {"k": f"{STEP};{CALL};<built-in method mm of Tensor object>"}
    assert found.stacks.row(0, named=True) == {
        "stack_id": 0,
        "stack": f"{STEP};{CALL};<built-in method mm of Tensor object>",
        "source_line": "/home/x/train.py:12",
        "function": "step",
    }


def test_equal_stacks_are_one_and_unused_ones_are_not_stored(tmp_path: Path) -> None:
    events = [frame(STEP, 0.0, 500.0), frame("/home/x/train.py(40): idle", 450.0, 20.0)]
    for layer in range(3):
        at = 100.0 * layer
        events += [frame(f"nn.Module: Linear_{layer}", at + 1, 40.0), frame(CALL, at + 2, 30.0)]
        events += [frame(f"<built-in method mm of Tensor object at 0x{layer}>", at + 5, 20.0)]
        events += call(f"k{layer}", at + 10, layer + 1)
    events += call("other", 350.0, 9)
    found = launching(tmp_path, events)
    assert found.activities["stack_id"].to_list() == [1, 1, 1, 0]
    assert len(found.stacks) == 2


def test_a_separator_in_a_name_is_replaced(tmp_path: Path) -> None:
    found = launching(tmp_path, nested("/home/a;b/train.py(3): f;g"))
    assert found.stack_of() == {"k": "/home/a,b/train.py(3): f,g"}
    assert found.line_of() == {"k": "/home/a,b/train.py:3"}


@pytest.mark.parametrize(
    ("frames", "line"),
    [
        ([STEP, CALL], "/home/x/train.py:12"),
        (["train.py(3): <module>", "lib/model.py(9): forward", CALL], "lib/model.py:9"),
        ([STEP, "threading.py(1012): run", "multiprocessing/spawn.py(122): spawn_main"], "/home/x/train.py:12"),
        ([STEP, "/usr/lib/python3.12/threading.py(1012): run"], "/home/x/train.py:12"),
        ([STEP, "/opt/conda/lib/python3.12/site-packages/peft/model.py(5): forward"], "/home/x/train.py:12"),
        (["/opt/conda/lib/python3.12/site-packages/peft/model.py(5): forward", CALL],
            "/opt/conda/lib/python3.12/site-packages/peft/model.py:5"),
        ([STEP, "/usr/lib/python3/dist-packages/torch/nn/functional.py(5): linear"], "/home/x/train.py:12"),
        ([STEP, "/tmp/torchinductor_x/ab/cabc.py(77): call"], "/home/x/train.py:12"),
        ([STEP, "/src/triton/python/triton/runtime/jit.py(7): run"], "/home/x/train.py:12"),
        ([STEP, "<string>(2): __init__", "<frozen os>(808): getenv"], "/home/x/train.py:12"),
        (["<ipython-input-3-0a>(5): <module>", CALL], "<ipython-input-3-0a>:5"),
        (["C:\\work\\train.py(12): step", "C:\\Python312\\Lib\\threading.py(9): run"], "C:\\work\\train.py:12"),
        (["torch\\nn\\modules\\module.py(1501): _call_impl"], None),
        ([CALL, "<built-in function linear>"], None),
    ],
)  # fmt: skip
def test_the_line_is_the_innermost_of_the_users_own(tmp_path: Path, frames: list[str], line: str | None) -> None:
    assert launching(tmp_path, nested(*frames)).line_of() == {"k": line}


def test_backward_kernels_have_the_stack_of_their_forward_operator(tmp_path: Path) -> None:
    events = [
        frame(STEP, 0.0, 500.0),
        frame("/home/x/model.py(30): forward", 5.0, 30.0),
        *forward("mm", 10.0, 1, 7),
        frame("<built-in method run_backward of torch._C._EngineBase object at 0x7f>", 190.0, 200.0),
        *backward("mm", 200.0, 2, 7),
        *backward("unknown", 230.0, 3, 99),
    ]
    expected = {"mm": "/home/x/model.py:30", "mm_grad": "/home/x/model.py:30", "unknown_grad": None}
    assert launching(tmp_path, events).line_of() == expected


def test_nesting_beyond_pythons_own_limit_ends_with_the_last_level(tmp_path: Path) -> None:
    frames = [frame(f"/home/x/deep.py({depth}): f", depth / 100, 200.0 - depth / 50) for depth in range(1, 2001)]
    found = launching(tmp_path, [*frames, *call("k", 40.0, 1)])
    assert found.line_of() == {"k": "/home/x/deep.py:1024"}


def test_a_trace_without_frames_has_no_stacks(tmp_path: Path) -> None:
    found = launching(tmp_path, call("k", 40.0, 1))
    assert "stack_id" not in found.activities.columns
    assert found.stacks.is_empty()
