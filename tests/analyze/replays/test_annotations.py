"""Annotations of graph nodes: how torch writes them into a trace, and what they say of kernels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ridgeline.analyze.replays.annotations import label_of
from tests.analyze import kineto
from tests.analyze.loading import load as load_all
from tests.analyze.loading import query
from tests.analyze.replays.steps import assert_conserved, eager_step, load, modules, replayed_step


def annotated(events: list[kineto.Event], *args: dict[str, Any]) -> list[kineto.Event]:
    """The kernels as nodes of a graph, each with further arguments."""
    kernels = [event for event in events if event["cat"] == "kernel"]
    for node, (event, given) in enumerate(zip(kernels, args, strict=True)):
        event["args"] |= {"graph id": 7, "graph node id": (7 << 32) + node} | given
    return events


@pytest.mark.parametrize(
    ("args", "module", "phase"),
    [
        ({"name": "attention"}, "attention", None),
        ({"name": "phase=decode step=3 module=model.layers.0"}, "model.layers.0", "decode"),
        ({"annotation": json.dumps([{"name": "module=a.b"}])}, "a.b", None),
        ({"annotation": json.dumps([{"name": "outer"}, {"name": "inner", "autograd_phase": "backward"}])},
         "inner", "backward"),
        ({"annotation": {"name": "mlp", "dtype": "bf16"}}, "mlp", None),
        ({"annotation": "a region [of mine]"}, "a region [of mine]", None),
        ({"annotation": '"quoted"'}, '"quoted"', None),
        ({"name": "mlp", "module": "model.mlp", "phase": "prefill", "autograd_phase": "backward"},
         "model.mlp", "backward"),
        ({"name": 3, "module": None, "phase": ""}, None, None),
        ({"annotation": [[1], None, 2.5]}, None, None),
    ],
)  # fmt: skip
def test_what_an_annotation_says(args: dict[str, Any], module: str | None, phase: str | None) -> None:
    assert label_of(json.dumps(args)) == (module, phase)


def test_annotated_nodes_have_modules_without_any_companion(tmp_path: Path, warehouse: Path) -> None:
    """Their operators stay unknown, which the ledger tells from kernels of which nothing is known."""
    replay = annotated(
        replayed_step("phase=decode step=1", ["a", "b", "c", "d"]),
        {"name": "model.layers.0.mlp"}, {"annotation": '[{"name": "module=model.norm"}]'}, {}, {"name": "a\\"},
    )  # fmt: skip
    load_all(warehouse, kineto.write(tmp_path / "r.json", replay))
    assert modules(warehouse) == [
        ("a", "model.layers.0.mlp", "graph_node"),
        ("b", "model.norm", "graph_node"),
        ("c", None, "unattributed"),
        ("d", "a\\", "graph_node"),
    ]
    assert query(warehouse, "SELECT module, source FROM modules ORDER BY module") == [
        ("a\\", "annotation"), ("model.layers.0.mlp", "annotation"), ("model.norm", "annotation"),
    ]  # fmt: skip
    entries = query(warehouse, "SELECT entry, duration_ns FROM ledger WHERE account = 'attribution' ORDER BY entry")
    assert entries == [("graph_node", 9_000), ("unattributed", 3_000)]
    assert_conserved(warehouse, 12_000)


def test_an_annotation_wins_over_labels_and_the_twin(tmp_path: Path, warehouse: Path) -> None:
    """The operator still comes from the twin."""
    replay = annotated(replayed_step("phase=decode step=1", ["a", "b"]), {"name": "mine"}, {})
    result = load(tmp_path, warehouse, replay, eager_step("phase=decode step=1", ["a", "b"]))
    assert result.matched
    assert result.matched.kernels == 2
    assert modules(warehouse) == [("a", "mine", "graph_twin"), ("b", "m1", "graph_twin")]


def test_arguments_of_these_names_mean_nothing_outside_of_a_graph(tmp_path: Path, warehouse: Path) -> None:
    events = kineto.matmul_step()
    for event in events:
        if event.get("cat") == "kernel":
            event["args"] |= {"name": "mine"}
    replay = annotated(replayed_step("", ["a"], 500.0), {"name": "model"})
    load_all(warehouse, kineto.write(tmp_path / "t.json", [*events, *replay]))
    assert {module for _, module, _ in modules(warehouse)} == {"model.layers.0.mlp", None, "model"}
    assert [kernel for kernel, _, attribution in modules(warehouse) if attribution == "graph_node"] == ["a"]


def test_an_annotation_gives_the_phase_outside_of_a_labelled_step(tmp_path: Path, warehouse: Path) -> None:
    replay = annotated(
        replayed_step("", ["a", "b", "c"]),
        {"name": "mlp", "autograd_phase": "backward"}, {"name": "phase=prefill"}, {},
    )  # fmt: skip
    load_all(warehouse, kineto.write(tmp_path / "r.json", replay))
    rows = query(warehouse, "SELECT kernel, phase, module, attribution FROM kernel_roofline ORDER BY start_ns")
    assert rows == [
        ("a", "backward", "mlp", "graph_node"), ("b", "prefill", None, "graph_node"), ("c", None, None, "unattributed"),
    ]  # fmt: skip
