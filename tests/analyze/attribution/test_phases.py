"""Phases of training, and the forward operator of every backward operator: by hand, and on captured traces."""

from __future__ import annotations

from pathlib import Path

import pytest

from ridgeline.analyze.attribution.autograd import forward_operators, forward_partners, is_recomputed
from ridgeline.analyze.attribution.operators import build_tree, parse_labels
from ridgeline.analyze.reading.parts import read_part
from ridgeline.analyze.reading.trace import assemble
from tests.analyze import kineto
from tests.analyze.together import Loading, Run, together

FOREIGN = Path(__file__).parents[4] / "shared"
TRAINING = sorted(
    path for pattern in ("foreign/*_train.json.gz", "ranks/dlrm.rank0.json.gz") for path in FOREIGN.glob(pattern)
)
Pairs = list[tuple[str, str | None]]


def partners(path: Path, events: list[kineto.Event]) -> tuple[Pairs, list[str]]:
    """Each operator in order of start with its forward operator, and the recomputed operators."""
    file = kineto.write(path / "t.json", events)
    trace = assemble([read_part(file)], file)
    parent = build_tree(trace, parse_labels(trace)).operator_parent()
    names = [trace.names[code] for code in trace.operators["name"]]
    order = trace.operators["start_ns"].arg_sort().to_list()
    forward, recomputed = forward_operators(trace, parent, forward_partners(trace)), is_recomputed(trace, parent)
    pairs = [(names[row], names[forward[row]] if forward[row] >= 0 else None) for row in order]
    return pairs, [names[row] for row in order if recomputed[row]]


def phases(run: Run, name: str = "kernel") -> dict[str, str | None]:
    return dict(run.query(f"SELECT {name}, phase FROM kernel_roofline"))


@together
def test_every_kernel_of_an_iteration_has_its_phase(folder: Path) -> Loading:
    events = kineto.training_step(1) + kineto.training_step(2)
    run = yield kineto.write(folder / "t.json", events)
    assert phases(run) == {
        "zero": "optimizer", "copy": "forward", "mm": "forward", "cos": "forward", "relu": "forward", "mean": "forward",
        "ones": None, "mean_backward": "backward", "relu_backward": "backward", "mm_backward_1": "backward",
        "mm_backward_2": "backward", "all_reduce": "backward", "finish": "backward", "clip": "optimizer",
        "add": "optimizer", "prefetch": "optimizer", "read": None,
    }  # fmt: skip
    rows = run.query(
        "SELECT phase, CAST(SUM(kernels) AS INT), SUM(duration_ns) FROM operator_summary GROUP BY phase ORDER BY phase",
    )
    assert rows == [("backward", 12, 141_000), ("forward", 10, 117_500), ("optimizer", 8, 94_000), (None, 4, 47_000)]


def test_backward_operators_have_the_forward_operator_that_made_their_node(tmp_path: Path) -> None:
    pairs, recomputed = partners(tmp_path, kineto.training_step(1))
    assert recomputed == []
    assert [pair for pair in pairs if pair[1]] == [
        ("autograd::engine::evaluate_function: MeanBackward0", "aten::mean"), ("MeanBackward0", "aten::mean"),
        ("aten::div", "aten::mean"), ("autograd::engine::evaluate_function: ReluBackward0", "aten::relu"),
        ("ReluBackward0", "aten::relu"), ("aten::threshold_backward", "aten::relu"),
        # aten::linear has the same number, but aten::mm made the node
        ("autograd::engine::evaluate_function: MmBackward0", "aten::mm"), ("MmBackward0", "aten::mm"),
        ("aten::mm", "aten::mm"), ("aten::mm", "aten::mm"),
    ]  # fmt: skip


def test_the_same_numbers_on_two_threads_are_told_apart(tmp_path: Path) -> None:
    """PyTorch's number of a thread is the order in which the threads began."""
    events = [
        *kineto.on_thread(501, kineto.numbered(kineto.operator("first::a", 0, 2, 1), 7)),
        *kineto.on_thread(500, kineto.numbered(kineto.operator("second::b", 1, 2, 2), 7)),
        *kineto.on_thread(600, kineto.numbered(kineto.operator("BBackward0", 10, 2, 3), 7, forward_thread=2)),
        *kineto.on_thread(601, kineto.numbered(kineto.operator("ABackward0", 11, 2, 4), 7, forward_thread=1)),
    ]
    pairs, _ = partners(tmp_path, events)
    assert pairs[2:] == [("BBackward0", "second::b"), ("ABackward0", "first::a")]


RECOMPUTED = [
    kineto.numbered(kineto.operator("aten::mm", 0, 5, 1), 3),
    kineto.numbered(kineto.operator("aten::relu", 6, 5, 2), 4),
    *kineto.node("ReluBackward0", 20, 40, 3, 4),
    # the saved tensors of the node were freed, so its forward runs again in grad mode
    *kineto.on_thread(401, kineto.numbered(kineto.operator("aten::mm", 22, 5, 5), 9)),
    *kineto.on_thread(401, kineto.operator("inner", 23, 2, 6)),
    *kineto.on_thread(401, kineto.operator("aten::threshold_backward", 30, 5, 7)),
]


@together
def test_recomputed_forwards_are_no_backward_operators(folder: Path) -> Loading:
    pairs, recomputed = partners(folder, RECOMPUTED)
    assert recomputed == ["aten::mm"]
    assert [pair for pair in pairs if not pair[0].endswith("ReluBackward0")] == [
        ("aten::mm", None), ("aten::relu", None), ("aten::mm", None), ("inner", None),
        ("aten::threshold_backward", "aten::relu"),
    ]  # fmt: skip
    launches = [*kineto.on_thread(401, kineto.launch(24, 1), kineto.launch(31, 2)), kineto.launch(1, 3)]
    kernels = [kineto.kernel(name, 40 + at, 1, at) for at, name in enumerate(("again", "own", "first"), 1)]
    run = yield kineto.write(folder / "k.json", [*RECOMPUTED, *launches, *kernels])
    assert phases(run) == {"again": "recompute", "own": "backward", "first": "forward"}


def test_a_differentiated_backward_pass_is_not_recomputed(tmp_path: Path) -> None:
    """With create_graph=True all operators of a node are in grad mode, and make nodes of the second derivative."""
    events = [
        kineto.numbered(kineto.operator("aten::pow", 0, 5, 1), 3),
        kineto.numbered(kineto.operator("PowBackward0", 10, 20, 2), 3, forward_thread=1),
        kineto.numbered(kineto.operator("aten::mul", 12, 5, 3), 4),
        kineto.numbered(kineto.operator("MulBackward0", 40, 9, 4), 4, forward_thread=1),
        kineto.operator("aten::neg", 41, 5, 5),
    ]
    pairs, recomputed = partners(tmp_path, events)
    assert recomputed == []
    assert pairs == [("aten::pow", None), *((pair, "aten::pow") for pair in
        ("PowBackward0", "aten::mul", "MulBackward0", "aten::neg"))]  # fmt: skip


@pytest.mark.parametrize("evidence", ["inference", "nodes by name", "optimizer"])
@together
def test_phases_need_evidence_of_training(folder: Path, evidence: str) -> Loading:
    """Grad mode alone is not training. Old traces have no sequence numbers: nodes and optimizers have names."""
    events = [
        kineto.numbered(kineto.operator("aten::mm", 0, 9, 1), 3),
        kineto.launch(1, 1),
        kineto.kernel("k", 20, 1, 1),
    ]
    if evidence == "nodes by name":
        events = [event | {"args": {"External id": 1}} if "External id" in event["args"] else event for event in events]
        events += kineto.on_thread(401, kineto.operator("MmBackward", 30, 9, 2), kineto.launch(31, 2))
        events += [kineto.kernel("b", 50, 1, 2)]
    if evidence == "optimizer":
        events += [
            kineto.annotation("Optimizer.step#SGD.step", 30, 9),
            kineto.launch(31, 2),
            kineto.kernel("b", 50, 1, 2),
        ]
    run = yield kineto.write(folder / "t.json", events)
    expected = {"nodes by name": "backward", "optimizer": "optimizer"}
    other = {"b": expected[evidence]} if evidence in expected else {}
    assert phases(run) == {"k": None, **other}


@together
def test_without_a_device_the_operators_have_the_phases(folder: Path) -> Loading:
    host = [event for event in kineto.training_step(1) if event["cat"] in ("cpu_op", "user_annotation")]
    run = yield kineto.write(folder / "t.json", host)
    found = phases(run, "operator")
    assert [found[name] for name in ("aten::relu", "aten::threshold_backward", "aten::_foreach_add_")] == [
        "forward",
        "backward",
        "optimizer",
    ]


@pytest.mark.parametrize("trace", TRAINING, ids=lambda path: path.name.partition(".json")[0])
@together
def test_a_captured_training_step_has_all_phases(trace: Path) -> Loading:
    run = yield trace
    ((share,),) = run.query(
        "SELECT SUM(CASE WHEN phase IS NOT NULL THEN duration_ns END) / SUM(duration_ns) FROM kernel_roofline"
        " WHERE step IS NOT NULL",
    )
    assert share > 0.99
    assert {phase for phase in phases(run, "kernel_id").values() if phase} == {"forward", "backward", "optimizer"}
    assert run.query("SELECT COUNT(*) FROM kernel_roofline WHERE step IS NULL") == [(0,)]
