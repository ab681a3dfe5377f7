"""Several replays in one step, graphs of a piece of a step each, and graphs whose nodes torch 2.14 names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.analyze import kineto
from tests.analyze.replays.steps import assert_conserved, eager_step, modules, replayed_step, with_twin
from tests.analyze.together import Loading, Loadings, Run, together

LAYER = ["norm", "gemm", "rope"]


def step(events: list[kineto.Event], number: int = 1) -> list[kineto.Event]:
    """The events inside of one ``ProfilerStep``."""
    start = min(event["ts"] for event in events)
    end = max(event["ts"] + event["dur"] for event in events)
    return [kineto.annotation(f"ProfilerStep#{number}", start - 0.5, end - start + 1.0), *events]


def graphs(launches: Sequence[Sequence[str]], start_us: float = 0.0, apart_us: float = 100.0) -> list[kineto.Event]:
    """A graph launch for each list of kernels."""
    return [
        event
        for i, kernels in enumerate(launches)
        for event in replayed_step("", kernels, start_us + apart_us * i, int(start_us) + 9001 + i)
    ]


def launched(name: str, at_us: float) -> list[kineto.Event]:
    """A kernel launched by the host."""
    return [kineto.launch(at_us, int(at_us) + 50_000), kineto.kernel(name, at_us + 1.0, 1.0, int(at_us) + 50_000)]


def numbers(run: Run) -> list[int | None]:
    """The module of each kernel as a number, in the order in which they ran."""
    return [None if module is None else int(module[1:]) for _, module, _ in modules(run)]


@pytest.mark.parametrize("twin_steps", [1, 2, 3, 5])
@pytest.mark.parametrize("labelled", [(False, False), (True, False), (False, True), (True, True)])
@together
def test_each_replay_in_a_step_takes_the_twin_s_next_iteration(
    folder: Path, twin_steps: int, labelled: tuple[bool, bool]
) -> Loading:
    """After the twin's last iteration, the first comes again; every replay has calls of its own."""
    kernels = [f"k{i % 5}" for i in range(20)]
    replay = graphs([kernels] * 3)
    twin = [event for i in range(twin_steps) for event in eager_step("", kernels, 1000.0 * i)]
    in_step, twin_in_step = labelled
    run = yield with_twin(folder, step(replay) if in_step else replay, step(twin) if twin_in_step else twin)
    assert run.result.matched == (60, 180_000, 60, 180_000)
    assert numbers(run) == [1000 * (i % twin_steps) + k for i in range(3) for k in range(20)]
    counts = run.query("SELECT count(*), count(DISTINCT operator_id), sum(share) FROM kernels")
    assert counts == [(60, 60, 60.0)]
    starts = run.query("SELECT DISTINCT start_ns FROM operators ORDER BY 1")
    assert starts == [(1_000,), (101_000,), (201_000,)]
    assert_conserved(run, 180_000)


@together
def test_several_steps_with_several_replays(folder: Path) -> Loading:
    """The twin has one step; its kernels serve two steps of two replays."""
    kernels = [f"k{i % 7}" for i in range(14)]
    replay = [*step(graphs([kernels] * 2), 1), *step(graphs([kernels] * 2, 500.0), 2)]
    run = yield with_twin(folder, replay, step(eager_step("", kernels), 8))
    assert run.result.matched == (56, 168_000, 56, 168_000)
    assert numbers(run) == [*range(14)] * 4
    assert run.query("SELECT count(DISTINCT step) FROM kernel_roofline") == [(2,)]


@pytest.mark.parametrize("rounds", [1, 3])
@pytest.mark.parametrize("between", ["the same", "another", "none"])
@together
def test_graphs_of_equal_layers_get_the_modules_of_their_own_layer(folder: Path, rounds: int, between: str) -> Loading:
    """Four graphs with the same kernels, attention launched between them, which the run may do otherwise."""
    layers, attention = 4, {"the same": "flash", "another": "paged", "none": None}[between]
    twin = eager_step("", [name for _ in range(layers) for name in (*LAYER, "flash")] + ["head"])
    replay: list[kineto.Event] = []
    for i in range(rounds):
        at = 1000.0 * i
        replay += graphs([LAYER] * layers, at)
        replay += graphs([["head"]], at + 100.0 * layers)
        for layer in range(layers):
            replay += launched(attention, at + 100.0 * layer + 50.0) if attention else []
    run = yield with_twin(folder, step(replay), step(twin))
    assert run.result.matched
    assert run.result.matched.kernels == run.result.matched.of_kernels == rounds * (3 * layers + 1)
    a_round = [4 * layer + k for layer in range(layers) for k in range(3)] + [4 * layers]
    replayed = run.query(
        "SELECT CAST(substr(module, 2) AS INTEGER) FROM kernel_roofline WHERE attribution = 'graph_twin'"
        " ORDER BY start_ns",
    )
    assert [number for (number,) in replayed] == a_round * rounds


@pytest.mark.parametrize("in_step", [False, True])
@pytest.mark.parametrize(("rounds", "twin_rounds"), [(1, 1), (3, 1), (3, 2)])
@together
def test_a_layer_that_differs_in_the_twin_leaves_the_others_in_place(
    folder: Path, rounds: int, twin_rounds: int, *, in_step: bool
) -> Loading:
    """The twin lacks one kernel of one layer of eight: that layer's graph matches the next layer better."""
    layer, layers = ["norm", "qkv", "rope", "attention", "out", "norm", "up", "down"], 8
    a_step = ["embedding", *(layer * layers), "head"]
    missing = 1 + 2 * len(layer) + 3
    twin = [
        event
        for i in range(twin_rounds)
        for event in eager_step("", [name for k, name in enumerate(a_step) if k != missing], 10_000.0 * i)
    ]
    replay = []
    for i in range(rounds):
        replay += graphs([["embedding", *layer], *([layer] * (layers - 1)), ["head"]], 2000.0 * i)
    run = yield with_twin(folder, step(replay) if in_step else replay, step(twin) if in_step else twin)
    assert run.result.matched
    assert run.result.matched.kernels == rounds * (len(a_step) - 1)
    of_step = [None if k == missing else k - (k > missing) for k in range(len(a_step))]
    found = numbers(run)
    assert [None if number is None else number % 10_000 for number in found] == of_step * rounds


@together
def test_a_kernel_before_each_piece_does_not_move_the_next_one(folder: Path) -> Loading:
    """The twin has the copy that precedes each replay once only, at its end."""
    twin = eager_step("", [*(LAYER * 3), "copy"])
    replay = [event for i in range(3) for event in launched("copy", 100.0 * i)]
    run = yield with_twin(folder, step([*replay, *graphs([LAYER] * 3, 10.0)]), step(twin))
    assert [number for number in numbers(run) if number is not None] == [*range(9)]


@together
def test_a_graph_of_another_model_in_the_same_step_learns_nothing(folder: Path) -> Loading:
    """A draft model's graph shares two of five kernels with the twin."""
    target = [f"k{i}" for i in range(20)]
    replay = step(graphs([target, ["k3", "d0", "k4", "d1", "d2"], target]))
    run = yield with_twin(folder, replay, eager_step("", target))
    assert run.result.matched == (40, 120_000, 45, 135_000)
    assert numbers(run) == [*range(20), *[None] * 5, *range(20)]


@pytest.mark.parametrize(("foreign", "is_taught"), [(4, True), (5, False)])
@together
def test_a_launch_learns_if_four_fifths_of_it_match(folder: Path, foreign: int, is_taught: bool) -> Loading:
    kernels = [f"k{i}" for i in range(20)]
    replayed = [name if i < 20 - foreign else f"x{i}" for i, name in enumerate(kernels)]
    run = yield with_twin(folder, replayed_step("", replayed), eager_step("", kernels))
    assert run.result.matched
    assert run.result.matched.kernels == (20 - foreign if is_taught else 0)


@pytest.mark.parametrize(("foreign", "is_taught"), [(4, True), (5, False)])
@together
def test_a_short_twin_does_not_teach_a_few_kernels_of_a_long_launch(
    folder: Path, foreign: int, is_taught: bool
) -> Loading:
    replayed = ["a", "b", "c", "d", *(f"x{i}" for i in range(foreign))]
    run = yield with_twin(folder, replayed_step("", replayed), eager_step("", ["a", "b", "c", "d"]))
    assert run.result.matched
    assert run.result.matched.kernels == (4 if is_taught else 0)


@together
def test_the_command_says_that_a_twin_was_refused(folder: Path) -> Loading:
    run = yield with_twin(folder, replayed_step("", ["a", "b"]), eager_step("", ["x", "y", "z"]))
    assert "the twin matched 0 of 2 replayed kernels" in run.result.headline()
    assert "record the eager steps of the same model and shapes" in run.result.headline()


# Graph nodes, of torch 2.14 and later.


def with_nodes(events: list[kineto.Event], graph: int, nodes: Sequence[int], *, packed: bool) -> list[kineto.Event]:
    """The kernels of each launch as the given nodes of a graph; Kineto packs the graph's id into the node's."""
    kernels = [event for event in events if event["cat"] == "kernel"]
    for i, event in enumerate(kernels):
        node = nodes[i % len(nodes)]
        event["args"] |= {"graph id": graph, "graph node id": (graph << 32 if packed else 0) + node}
    return events


@pytest.mark.parametrize("packed", [False, True])
@together
def test_replays_of_a_graph_are_aligned_by_node(folder: Path, packed: bool) -> Loading:
    """Branches of a graph overlap otherwise in each replay: equal kernels change places, which names cannot tell."""
    twin = eager_step("", ["a", "a", "b", "c"])
    first = with_nodes(replayed_step("", ["a", "a", "b", "c"], 0.0, 1), 7, [0, 1, 2, 3], packed=packed)
    second = with_nodes(replayed_step("", ["b", "a", "c", "a"], 100.0, 2), 7, [2, 1, 3, 0], packed=packed)
    run = yield with_twin(folder, [*first, *second], twin)
    assert run.result.matched
    assert run.result.matched.kernels == 8
    assert numbers(run) == [0, 1, 2, 3, 2, 1, 3, 0]


@together
def test_a_replay_that_lacks_a_node_keeps_the_others(folder: Path) -> Loading:
    """The profiler lost two of the three ``a`` of the second replay: only nodes tell which one is left."""
    twin = eager_step("", ["a", "a", "a", "b"])
    first = with_nodes(replayed_step("", ["a", "a", "a", "b"], 0.0, 1), 7, [0, 1, 2, 3], packed=False)
    second = with_nodes(replayed_step("", ["a", "b"], 100.0, 2), 7, [1, 3], packed=False)
    run = yield with_twin(folder, [*first, *second], twin)
    assert numbers(run) == [0, 1, 2, 3, 1, 3]


@pytest.mark.parametrize("nodes", [[5, 5, 6, 7], [3, 2, 1, 0]], ids=["repeated", "not in the order of launches"])
@together
def test_nodes_that_tell_nothing_leave_the_order_in_time(folder: Path, nodes: list[int]) -> Loading:
    kernels = ["a", "b", "c", "d"]
    replay = with_nodes(graphs([kernels, kernels]), 7, nodes, packed=False)
    run = yield with_twin(folder, replay, eager_step("", kernels))
    assert numbers(run) == [0, 1, 2, 3] * 2


@together
def test_a_node_with_two_names_is_not_believed(folder: Path) -> Loading:
    """The graph was updated between two replays, or two processes share its number."""
    first = with_nodes(graphs([["a", "b", "c"]]), 7, [2, 1, 0], packed=False)
    second = with_nodes(graphs([["d", "e", "f"]], 100.0), 7, [2, 1, 0], packed=False)
    run = yield with_twin(folder, [*first, *second], eager_step("", ["a", "b", "c", "d", "e", "f"]))
    assert numbers(run) == [0, 1, 2, 3, 4, 5]


@together
def test_replays_under_hip_with_the_id_of_the_region_around_them(folder: Path) -> Loadings:
    replay = replayed_step("", ["a", "b", "a"])
    for event in replay:
        event["name"] = event["name"].replace("cuda", "hip")
        if event["cat"] == "kernel":
            event["args"] |= {"External id": 3}
    events = [kineto.operator("Torch-Compiled Region: 0/0", 0.0, 15.0, 3), *replay]
    taught, alone = yield [
        with_twin(folder, events, eager_step("", ["a", "b", "a"])),
        kineto.write(folder / "alone.json", events),
    ]
    assert taught.result.matched == (3, 9_000, 3, 9_000)
    sql = "SELECT DISTINCT operator, attribution FROM kernel_roofline"
    assert taught.query(sql) == [("aten::mm", "graph_twin")]
    assert alone.query(sql) == [(None, "unattributed")]


CASE = Path(__file__).parents[4] / "shared" / "cases" / "graph3step.json"


@pytest.mark.skipif(not CASE.is_file(), reason="the cases are not beside the project")
@together
def test_the_case_of_three_replays_in_one_step(folder: Path) -> Loading:
    run = yield CASE
    assert run.result.matched
    assert (run.result.matched.kernels, run.result.matched.of_kernels) == (120, 120)
    assert run.query("SELECT DISTINCT attribution FROM kernel_roofline") == [("graph_twin",)]
