"""Names of graph nodes: asked of torch where it has them, and written into the trace. torch's part is faked."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ridgeline.capture.decoder.decoder import Decoder
from ridgeline.capture.measuring import execution, graph_nodes
from ridgeline.capture.measuring.execution import Direct, Graphed
from ridgeline.capture.measuring.labels import Labels
from ridgeline.capture.modes import MODES
from tests.analyze import kineto
from tests.capture.conftest import make_point

CPU = torch.device("cpu")
NODE = 7 << 32


class Annotations:
    """`torch.cuda.graph_annotations` of a machine that can name nodes; each named range captures one node."""

    def __init__(self, *, available: bool = True) -> None:
        self.available = available
        self.open: list[str] = []
        self.nodes: dict[int, list[dict[str, str]]] = {}

    def is_available(self) -> bool:
        return self.available

    @contextmanager
    def mark_kernels(self, name: str) -> Iterator[None]:
        self.open.append(name)
        yield
        self.nodes[NODE + len(self.nodes)] = [{"name": name}]
        assert self.open.pop() == name

    def get_kernel_annotations(self) -> dict[int, list[dict[str, str]]]:
        return self.nodes

    def clear_kernel_annotations(self) -> None:
        self.nodes.clear()


@pytest.fixture
def captured(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The keywords of each capture, on a machine whose CUDA does nothing."""
    keywords: list[dict[str, Any]] = []

    @contextmanager
    def graph(cuda_graph: Any, pool: Any, capture_error_mode: str, enable_annotations: bool = False) -> Iterator[None]:
        keywords.append({"mode": capture_error_mode, "enable_annotations": enable_annotations})
        yield

    stream = SimpleNamespace(wait_stream=lambda _: None)
    for name, value in {
        "graph": graph,
        "graph_pool_handle": lambda: None,
        "CUDAGraph": lambda: None,
        "Stream": lambda _: stream,
        "current_stream": lambda _: stream,
        "stream": lambda _: nullcontext(),
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(execution, "synchronize", lambda _: None)
    return keywords


def capture(llama: Decoder, labels: Labels) -> Graphed:
    generation = MODES["ar"](llama, make_point(model="tiny-llama", mode="ar"), labels)
    graphed = Graphed(Direct(generation, CPU), CPU, partial(graph_nodes.named, labels, llama.network))
    graphed.capture(lambda _: None)
    return graphed


def test_a_capture_names_its_nodes_where_torch_can(
    llama: Decoder, captured: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    annotations, call = Annotations(), torch.nn.Module.__call__
    annotations.nodes[1] = [{"name": "of an earlier point"}]
    monkeypatch.setitem(sys.modules, "torch.cuda.graph_annotations", annotations)
    capture(llama, Labels())
    assert captured
    assert all(keywords == {"mode": "thread_local", "enable_annotations": True} for keywords in captured)
    names = {name for ((entry),) in annotations.nodes.values() for name in entry.values()}
    assert {"module=model.layers.0.self_attn", "module=lm_head", "module=sampling"} <= names
    assert "of an earlier point" not in names
    assert torch.nn.Module.__call__ is call


@pytest.mark.parametrize("annotations", [None, Annotations(available=False)], ids=["older torch", "older driver"])
def test_a_capture_elsewhere_is_as_before(
    llama: Decoder, captured: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, annotations: Annotations | None
) -> None:
    monkeypatch.setitem(sys.modules, "torch.cuda.graph_annotations", annotations)
    capture(llama, Labels())
    assert captured
    assert all(keywords == {"mode": "thread_local", "enable_annotations": False} for keywords in captured)
    assert annotations is None or not annotations.nodes
    assert graph_nodes.write_names('"graph node id": 7') == '"graph node id": 7'


def test_names_are_written_into_the_trace_and_read_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the registry of torch to the modules of kernels; a node without a name stays without one."""
    annotations = Annotations()
    annotations.nodes.update({NODE: [{"name": "module=model.layers.0.mlp"}], NODE + 1: [{"name": 'module=a"b'}]})
    monkeypatch.setitem(sys.modules, "torch.cuda.graph_annotations", annotations)
    kernels = [
        kineto.kernel("k", 10.0 + i, 1.0, 5, **{"graph id": 7, "graph node id": NODE + i, "grid": [1, 1, 1]})
        for i in range(3)
    ]
    text = graph_nodes.write_names(kineto.text([kineto.launch(1.0, 5, "cudaGraphLaunch"), *kernels]))
    assert len(json.loads(text)["traceEvents"]) == 4
    pytest.importorskip("duckdb", reason="analyze is not installed on a bare GPU machine")
    from ridgeline.analyze.ingest import analyze
    from tests.analyze.loading import query

    path = tmp_path / "t.json"
    path.write_text(text)
    analyze([path], tmp_path / "w.duckdb")
    rows = query(tmp_path / "w.duckdb", "SELECT module, attribution FROM kernel_roofline ORDER BY start_ns")
    assert rows == [("model.layers.0.mlp", "graph_node"), ('a"b', "graph_node"), (None, "unattributed")]


def test_torch_has_the_functions_that_are_used() -> None:
    """Where this torch has them at all."""
    module = pytest.importorskip("torch.cuda.graph_annotations", reason="torch 2.14 and later")
    assert "enable_annotations" in inspect.signature(torch.cuda.graph).parameters
    with module.mark_kernels("outside of a capture nothing is marked"):
        assert dict(module.get_kernel_annotations()) == {}
    module.clear_kernel_annotations()
    assert not module.is_available() or torch.cuda.is_available()
