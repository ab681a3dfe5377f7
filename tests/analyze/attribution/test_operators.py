from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ridgeline.analyze.attribution.autograd import forward_operators, forward_partners
from ridgeline.analyze.attribution.modules import add_modules
from ridgeline.analyze.attribution.operators import attribute, build_tree, parse_labels
from ridgeline.analyze.attribution.origins import find_origins
from ridgeline.analyze.reading.parts import read_part
from ridgeline.analyze.reading.trace import assemble
from tests.analyze import kineto
from tests.analyze.together import Loading, together

Row = tuple[str, str | None, str | None, str | None, str]


def attributed(path: Path, events: list[kineto.Event]) -> list[Row]:
    """(activity, operator, module, phase, attribution), in order of start."""
    file = kineto.write(path / "t.json", events)
    trace = assemble([read_part(file)], file)
    labels = parse_labels(trace)
    tree = build_tree(trace, labels)
    forward = forward_operators(trace, tree.operator_parent(), forward_partners(trace))
    rows = attribute(trace, tree)
    rows, modules = add_modules(trace, labels, find_origins(trace, tree, rows, forward), rows)

    def operator_name(row: dict[str, Any]) -> str | None:
        return None if row["operator"] is None else trace.names[trace.operators["name"][row["operator"]]]

    def phase(row: dict[str, Any]) -> str | None:
        at = row["step_label"]
        return None if at is None else labels[trace.annotations["name"][at]].phase

    return [
        (
            trace.names[row["name"]],
            operator_name(row),
            None if row["module"] is None else modules.listed[row["module"]].path,
            phase(row),
            row["attribution"],
        )
        for row in rows.iter_rows(named=True)
    ]


def test_a_labelled_step(tmp_path: Path) -> None:
    module = "model.layers.0.mlp"
    assert attributed(tmp_path, kineto.matmul_step()) == [
        ("nvjet_sm90_tst_64x8", "aten::mm", module, "decode", "external_id"),
        ("void cublasLt::splitKreduce_kernel", "aten::mm", module, "decode", "external_id"),
        ("void at::native::vectorized_elementwise_kernel", "aten::add.Tensor", None, "decode", "external_id"),
        ("Memcpy DtoD (Device -> Device)", "aten::copy_", None, "decode", "external_id"),
    ]


def test_the_order_of_events_in_the_file_changes_nothing(tmp_path: Path) -> None:
    events = kineto.matmul_step()
    assert attributed(tmp_path, events[::-1]) == attributed(tmp_path, events)


def test_without_an_external_id_the_innermost_operator_around_the_launch_is_taken(tmp_path: Path) -> None:
    events = [
        kineto.operator("aten::linear", 0.0, 20.0, 1),
        kineto.operator("aten::mm", 5.0, 10.0, 2),
        kineto.operator("aten::mm", 5.0, 10.0, 3) | {"tid": 401},
        kineto.launch(6.0, 11),
        kineto.kernel("k", 10.0, 4.0, 11),
    ]
    assert attributed(tmp_path, events) == [("k", "aten::mm", None, None, "launch")]


def test_an_external_id_is_not_believed_when_its_operator_was_not_running(tmp_path: Path) -> None:
    """Old writers put the correlation id there, which may be some other operator's id."""
    events = [
        kineto.operator("aten::empty", 0.0, 2.0, 11),
        kineto.operator("aten::mm", 5.0, 10.0, 2),
        kineto.launch(6.0, 11),
        kineto.kernel("k", 10.0, 4.0, 11, **{"External id": 11}),
    ]
    assert attributed(tmp_path, events) == [("k", "aten::mm", None, None, "launch")]


def test_kernels_launched_before_recording_are_named_so_and_later_orphans_are_not(tmp_path: Path) -> None:
    events = [
        kineto.kernel("early", 0.0, 1.0, 5),
        kineto.kernel("lost", 1.0, 1.0, 12),  # ids count calls, so a later one than the first recorded launch
        kineto.kernel("early without correlation", 2.0, 1.0),
        kineto.operator("aten::mm", 5.0, 10.0, 2),
        kineto.launch(6.0, 11),
        kineto.kernel("linked", 10.0, 4.0, 11),
        kineto.kernel("orphan", 20.0, 1.0, 99),
        kineto.kernel("no correlation", 30.0, 1.0),
    ]
    assert [(row[0], row[4]) for row in attributed(tmp_path, events)] == [
        ("early", "before_recording"),
        ("lost", "unattributed"),
        ("early without correlation", "before_recording"),
        ("linked", "launch"),
        ("orphan", "unattributed"),
        ("no correlation", "unattributed"),
    ]


def test_a_graph_replay_has_a_phase_and_no_operator(tmp_path: Path) -> None:
    events = [
        kineto.annotation("phase=decode step=1", 0.0, 50.0),
        kineto.operator("replay_wrapper", 1.0, 40.0, 2),
        kineto.launch(6.0, 11, "cudaGraphLaunch"),
        kineto.kernel("a", 10.0, 4.0, 11),
        kineto.kernel("b", 15.0, 4.0, 11),
    ]
    assert attributed(tmp_path, events) == [
        ("a", None, None, "decode", "unattributed"),
        ("b", None, None, "decode", "unattributed"),
    ]


@pytest.mark.parametrize("launched", [True, False])
def test_the_region_around_a_graph_launch_is_not_the_operator_of_the_replay(tmp_path: Path, *, launched: bool) -> None:
    """ROCm's writer gives the kernels of a graph the id of the operator around its launch, here a compiled region."""
    region, copy = {"External id": 2}, {"External id": 3}
    events = [
        kineto.annotation("phase=decode step=1", 0.0, 50.0),
        kineto.operator("Torch-Compiled Region: 0/0", 1.0, 40.0, 2),
        kineto.launch(6.0, 11, "hipGraphLaunch"),
        kineto.operator("aten::copy_", 20.0, 4.0, 3),
        kineto.launch(21.0, 12, "hipMemcpyAsync"),
        kineto.kernel("a", 10.0, 4.0, 11 if launched else None, **region),
        kineto.kernel("b", 15.0, 4.0, 11 if launched else None, **region),
        kineto.kernel("copy", 25.0, 4.0, 12, category="gpu_memcpy", **copy),
    ]
    assert attributed(tmp_path, events) == [
        ("a", None, None, "decode", "unattributed"),
        ("b", None, None, "decode", "unattributed"),
        ("copy", "aten::copy_", None, "decode", "external_id"),
    ]


def test_a_graph_s_node_is_a_replay_also_without_its_launch(tmp_path: Path) -> None:
    """torch 2.14 writes the node of each activity; 0 is no node."""
    events = [
        kineto.operator("aten::mm", 1.0, 40.0, 2),
        kineto.launch(6.0, 11),
        kineto.kernel("eager", 10.0, 4.0, 11, **{"External id": 2, "graph id": 0, "graph node id": 0}),
        kineto.kernel("node", 15.0, 4.0, 12, **{"External id": 2, "graph id": 7, "graph node id": 1}),
    ]
    assert attributed(tmp_path, events) == [
        ("eager", "aten::mm", None, None, "external_id"),
        ("node", None, None, None, "unattributed"),
    ]


@pytest.mark.parametrize("with_kernel", [False, True])
def test_counter_ranges_stand_for_kernels_only_where_there_are_none(tmp_path: Path, with_kernel: bool) -> None:
    events = [kineto.kernel("range", 0.0, 9.0, category="cuda_profiler_range", **{"smsp__inst.sum": 3})]
    events += [kineto.kernel("k", 1.0, 2.0, 1)] if with_kernel else []
    expected = ("k", None, None, None, "unattributed") if with_kernel else ("range", None, None, None, "profiler_range")
    assert attributed(tmp_path, events) == [expected]


def test_annotations_on_the_device_are_not_activities(tmp_path: Path) -> None:
    events = [*kineto.matmul_step(), kineto.kernel("phase=decode", 9.0, 90.0, category="gpu_user_annotation")]
    assert len(attributed(tmp_path, events)) == 4


def test_an_external_id_of_another_thread_yields_to_the_operator_around_the_launch(tmp_path: Path) -> None:
    """Both operators ran when the launch came, and an id is stale where the launching thread has an operator itself."""
    events = [
        kineto.operator("aten::mm", 0.0, 20.0, 1),
        kineto.operator("aten::add", 0.0, 20.0, 2) | {"tid": 401},
        kineto.launch(5.0, 11) | {"tid": 401},
        kineto.kernel("k", 30.0, 1.0, 11, **{"External id": 1}),
    ]
    assert attributed(tmp_path, events) == [("k", "aten::add", None, None, "launch")]


def test_a_launch_on_a_thread_without_operators_keeps_its_external_id(tmp_path: Path) -> None:
    events = [
        kineto.operator("aten::mm", 5.0, 10.0, 2),
        kineto.launch(6.0, 11) | {"tid": 999},
        kineto.kernel("k", 10.0, 4.0, 11, **{"External id": 2}),
    ]
    assert attributed(tmp_path, events) == [("k", "aten::mm", None, None, "external_id")]


@pytest.mark.parametrize("order", [1, -1])
def test_equal_spans_nest_as_they_were_called_wherever_they_stand(tmp_path: Path, order: int) -> None:
    calls = [kineto.operator(name, 1.0, 9.0, i, [[4]], ["float"]) for i, name in enumerate(("aten::a", "aten::b"), 1)]
    events = [*calls[::order], kineto.launch(2.0, 5), kineto.kernel("k", 20.0, 1.0, 5)]
    assert attributed(tmp_path, events) == [("k", "aten::b", None, None, "launch")]


def rank(number: int) -> list[kineto.Event]:
    """A step of a rank: its own process and device, the same correlation ids as any other's."""
    events = [{**event, "pid": 400 + number} if event["pid"] == 400 else event for event in kineto.matmul_step()]
    return [
        {**event, "args": {**event["args"], "device": number}} if "stream" in event.get("args", {}) else event
        for event in events
    ]


@pytest.mark.parametrize(("second", "said"), [(rank(1), 1), (rank(0)[2:4], 0), ([], 0)])
@together
def test_merged_ranks_with_the_same_ids_are_told_of(second: list[kineto.Event], said: int, folder: Path) -> Loading:
    run = yield kineto.write(folder / "t.json", rank(0) + second)
    found = run.query("SELECT source, message FROM warnings")
    assert len(found) == said
    assert all(source == "attribution" and message.startswith("8 kernels and copies") for source, message in found)


@together
def test_processes_with_ids_of_their_own_are_kept_apart(folder: Path) -> Loading:
    events = json.loads(json.dumps(rank(1)))
    for event in events:
        for key in ("correlation", "External id"):
            if key in event.get("args", {}):
                event["args"][key] += 1000
    run = yield kineto.write(folder / "t.json", rank(0) + events)
    assert run.query("FROM warnings") == []
    assert run.query("SELECT rank, device_index, count(operator_id) FROM kernels GROUP BY ALL ORDER BY 1") == [
        (0, 0, 4),
        (1, 1, 4),
    ]
