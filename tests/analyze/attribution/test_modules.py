"""Modules from events and labels, of kernels launched by any thread."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from ridgeline.analyze.attribution.modules import rename
from tests.analyze import kineto
from tests.analyze.attribution.launching import AUTOGRAD, backward, call, forward, launching
from tests.analyze.kineto import annotation, frame
from tests.analyze.loading import load, query

LAYER = "Llama_0.DecoderLayer_3"


def module(name: str, start_us: float, duration_us: float) -> kineto.Event:
    return frame(f"nn.Module: {name}", start_us, duration_us)


def decoder() -> list[kineto.Event]:
    """Two layers of a model; the second ends with a kernel of its own, after its attention."""
    return [
        module("Llama_0", 0.0, 200.0),
        module("DecoderLayer_2", 10.0, 40.0),
        module("Linear_20", 12.0, 20.0),
        *call("first", 15.0, 1),
        module("DecoderLayer_3", 60.0, 100.0),
        module("Attention_3", 62.0, 40.0),
        module("Linear_21", 65.0, 20.0),
        *call("second", 70.0, 2),
        *call("add", 120.0, 3),
        *call("outside", 300.0, 4),
    ]


def test_paths_nest_with_the_numbers_of_instances(tmp_path: Path) -> None:
    found = launching(tmp_path, decoder())
    assert found.module_of() == {
        "first": "Llama_0.DecoderLayer_2.Linear_20",
        "second": f"{LAYER}.Attention_3.Linear_21",
        "add": LAYER,
        "outside": None,
    }
    rows = {row["module"]: row for row in found.modules.rows()}
    assert sorted(rows) == [
        "Llama_0",
        "Llama_0.DecoderLayer_2",
        "Llama_0.DecoderLayer_2.Linear_20",
        LAYER,
        f"{LAYER}.Attention_3",
        f"{LAYER}.Attention_3.Linear_21",
    ]
    attention = rows[f"{LAYER}.Attention_3"]
    assert (attention["module_class"], attention["source"]) == ("Attention", "event")
    assert attention["parent_id"] == rows[LAYER]["module_id"]
    assert rows["Llama_0"]["parent_id"] is None


def test_the_order_of_events_in_the_file_changes_nothing(tmp_path: Path) -> None:
    assert launching(tmp_path, decoder()[::-1]).module_of() == launching(tmp_path, decoder()).module_of()


def test_a_label_wins_over_events_around_and_inside_it(tmp_path: Path) -> None:
    labels = [annotation("module=model.layers.3", 60.0, 100.0), annotation("module=model.layers.3.attn", 63.0, 30.0)]
    found = launching(tmp_path, [*decoder(), *labels])
    assert found.module_of() == {
        "first": "Llama_0.DecoderLayer_2.Linear_20",
        "second": "model.layers.3.attn",
        "add": "model.layers.3",
        "outside": None,
    }
    rows = {row["module"]: row for row in found.modules.rows()}
    inner, outer = rows["model.layers.3.attn"], rows["model.layers.3"]
    assert (inner["source"], inner["module_class"], inner["parent_id"]) == ("label", None, outer["module_id"])
    assert outer["parent_id"] is None  # no label names model.layers


def test_a_module_called_again_inside_itself_is_the_same_module(tmp_path: Path) -> None:
    events = [module("Tree_0", 0.0, 100.0), module("Node_1", 5.0, 80.0), module("Tree_0", 10.0, 60.0)]
    events += [module("Node_1", 12.0, 40.0), *call("leaf", 20.0, 1), *call("branch", 55.0, 2)]
    assert launching(tmp_path, events).module_of() == {"leaf": "Tree_0.Node_1", "branch": "Tree_0"}


def test_threads_have_modules_of_their_own(tmp_path: Path) -> None:
    other = {"pid": 400, "tid": 7}
    events = [module("A_0", 0.0, 100.0), module("B_0", 0.0, 100.0) | other]
    events += [*call("main", 10.0, 1), *call("helper", 10.0, 2, thread=other), *call("third", 10.0, 3, thread=AUTOGRAD)]
    assert launching(tmp_path, events).module_of() == {"main": "A_0", "helper": "B_0", "third": None}


def test_modules_that_only_overlap_are_not_nested(tmp_path: Path) -> None:
    events = [module("A_0", 0.0, 50.0), module("B_0", 30.0, 50.0)]
    events += [*call("first", 10.0, 1), *call("both", 35.0, 2), *call("second", 60.0, 3), *call("none", 90.0, 4)]
    expected = {"first": "A_0", "both": "B_0", "second": "B_0", "none": None}
    assert launching(tmp_path, events).module_of() == expected


def test_a_launch_at_the_end_of_a_module_is_not_in_it(tmp_path: Path) -> None:
    """Neighbours share a boundary where times are rounded."""
    events = [module("A_0", 0.0, 12.0), module("B_0", 12.0, 20.0), *call("second", 10.0, 1)]
    assert launching(tmp_path, events).module_of() == {"second": "B_0"}


def test_a_kernel_without_a_launch_has_the_module_of_its_operator(tmp_path: Path) -> None:
    events = [event for event in decoder() if event["cat"] != "cuda_runtime"]
    assert launching(tmp_path, events).module_of() == launching(tmp_path, decoder()).module_of()


def test_events_without_a_name_are_no_modules(tmp_path: Path) -> None:
    events = [module("A_0", 0.0, 100.0), frame("nn.Module: ", 5.0, 50.0), *call("k", 10.0, 1)]
    assert launching(tmp_path, events).module_of() == {"k": "A_0"}


def training() -> list[kineto.Event]:
    """A forward in two modules, and its backward on autograd's thread, in reverse."""
    return [
        frame("/home/x/train.py(12): step", 0.0, 500.0),
        module("Net_0", 0.0, 100.0),
        module("Linear_0", 5.0, 20.0),
        *forward("mm", 10.0, 1, 7),
        module("ReLU_0", 40.0, 20.0),
        *forward("relu", 45.0, 2, 8),
        *forward("loss", 150.0, 3, 9),
        *backward("loss", 200.0, 4, 9),
        *backward("relu", 230.0, 5, 8),
        *backward("mm", 260.0, 6, 7),
        *backward("unknown", 290.0, 7, 99),
    ]


def test_backward_kernels_have_the_module_of_their_forward_operator(tmp_path: Path) -> None:
    assert launching(tmp_path, training()).module_of() == {
        "mm": "Net_0.Linear_0",
        "relu": "Net_0.ReLU_0",
        "loss": None,
        "loss_grad": None,
        "relu_grad": "Net_0.ReLU_0",
        "mm_grad": "Net_0.Linear_0",
        "unknown_grad": None,
    }


def test_backward_kernels_have_the_label_of_their_forward_operator(tmp_path: Path) -> None:
    found = launching(tmp_path, [*training(), annotation("module=net.first", 5.0, 20.0)]).module_of()
    assert found["mm_grad"] == found["mm"] == "net.first"
    assert found["relu_grad"] == "Net_0.ReLU_0"


def test_the_module_that_runs_the_backward_pass_is_not_that_of_its_kernels(tmp_path: Path) -> None:
    """On a CPU the backward pass runs in the thread, and so in the frames and modules, that call it."""
    events = [event | kineto.THREAD if event["tid"] == 401 else event for event in training()]
    found = launching(tmp_path, [*events, module("Trainer_0", 190.0, 200.0)]).module_of()
    assert found["mm_grad"] == "Net_0.Linear_0"
    assert found["unknown_grad"] == "Trainer_0"


def recomputed() -> list[kineto.Event]:
    """Activation checkpointing: the node runs the forward again, inside its module, on autograd's thread."""
    node = {"External id": 2000, "Sequence number": 7, "Fwd thread id": 1}
    return [
        module("Net_0", 0.0, 100.0),
        *forward("CheckpointFunction", 10.0, 1, 7),
        module("Block_0", 20.0, 60.0),
        module("Linear_0", 25.0, 40.0),
        *call("mm", 30.0, 4, autograd={"Sequence number": 49, "Fwd thread id": 0}),
        kineto.span("cpu_op", "autograd::engine::evaluate_function: CheckpointFunctionBackward", 200.0, 100.0, **node)
        | AUTOGRAD,
        module("Block_0", 204.0, 45.0) | AUTOGRAD,
        module("Linear_0", 205.0, 40.0) | AUTOGRAD,
        *call("mm_again", 210.0, 2, thread=AUTOGRAD, autograd={"Sequence number": 50, "Fwd thread id": 0}),
        *call("mm_grad", 260.0, 3, thread=AUTOGRAD),
    ]


def test_a_recomputed_forward_has_the_module_that_it_calls_again(tmp_path: Path) -> None:
    found = launching(tmp_path, recomputed()).module_of()
    linear = "Net_0.Block_0.Linear_0"
    assert found == {"CheckpointFunction": "Net_0", "mm": linear, "mm_again": linear, "mm_grad": "Net_0"}


def test_a_recomputed_module_without_a_recorded_forward_has_its_own_name(tmp_path: Path) -> None:
    events = [event for event in recomputed() if event["ts"] >= 200.0 or not event["name"].startswith("nn.Module")]
    assert launching(tmp_path, events).module_of()["mm_again"] == "Block_0.Linear_0"


def test_a_forward_recomputed_in_the_thread_of_its_trainer_has_the_same_modules(tmp_path: Path) -> None:
    events = [event | kineto.THREAD if event["tid"] == 401 else event for event in recomputed()]
    found = launching(tmp_path, [*events, module("Trainer_0", 190.0, 200.0)]).module_of()
    assert found["mm_again"] == "Net_0.Block_0.Linear_0"


def test_annotations_of_nodes_win_over_all(tmp_path: Path) -> None:
    found = launching(tmp_path, decoder())
    paths = pl.Series([None, "blocks.3", LAYER, "head"])
    renamed = found._replace(activities=rename(found.activities, found.modules, paths, "annotation"))
    assert renamed.module_of() == {
        "first": "Llama_0.DecoderLayer_2.Linear_20",
        "second": "blocks.3",
        "add": LAYER,
        "outside": "head",
    }
    source = {row["module"]: row["source"] for row in found.modules.rows()}
    assert (source["head"], source[LAYER]) == ("annotation", "event")


def test_operators_of_a_cpu_have_modules_and_lines(tmp_path: Path) -> None:
    host = [event for event in training() if event["cat"] in ("python_function", "cpu_op")]
    assert load(tmp_path / "w.duckdb", kineto.write(tmp_path / "t.json", host)) == [("t", "loaded")]
    rows = query(
        tmp_path / "w.duckdb",
        "SELECT v.kernel, v.module, s.source_line FROM kernel_roofline v JOIN kernels k USING (run_id, kernel_id)"
        " LEFT JOIN stacks s USING (run_id, stack_id) WHERE v.kernel IN ('aten::relu', 'aten::relu_grad') ORDER BY ALL",
    )
    line = "/home/x/train.py:12"
    assert rows == [("aten::relu", "Net_0.ReLU_0", line), ("aten::relu_grad", "Net_0.ReLU_0", line)]
