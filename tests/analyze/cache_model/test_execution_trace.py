"""Execution traces, from their JSON."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from ridgeline.analyze.cache_model.execution_trace import read_execution_trace
from ridgeline.analyze.cache_model.launches.launch import Node
from ridgeline.analyze.cache_model.operands import Tensor
from ridgeline.analyze.errors import CompanionError


def node(identifier: int, name: str, inputs: dict[str, Any], outputs: dict[str, Any]) -> dict[str, Any]:
    attributes = [{"name": "rf_id", "type": "uint64", "value": identifier}]
    return {"id": 1, "name": name, "inputs": inputs, "outputs": outputs, "attrs": attributes}


def values(values: list[Any], shapes: list[Any], strides: list[Any]) -> dict[str, Any]:
    return {"values": values, "shapes": shapes, "types": [], "strides": strides}


CAT = node(
    7,
    "aten::cat",
    values(
        [[[10, 1, 0, 8, 2, "cuda:0"], [11, 2, 4, 4, 2, "cuda:0"]], -1], [[[2, 4], [2, 2]], []], [[[4, 1], [4, 1]], []]
    ),
    values([[12, 3, 0, 12, 2, "cuda:0"]], [[2, 6]], [[6, 1]]),
)
HOST = node(
    8,
    "aten::item",
    values([[5, 4, 0, 1, 8, "cpu"], [6, 0, 0, 0, 8, "cuda:0"]], [[1], [0]], [[1], [1]]),
    values([], [], []),
)


@pytest.mark.parametrize("compress", [False, True])
def test_tensors_on_the_device_by_call(tmp_path: Path, compress: bool) -> None:
    path = tmp_path / "x.et.json"
    text = json.dumps({"schema": "1.1.1-chakra.0.0.4", "nodes": [CAT, HOST]}).encode()
    path.write_bytes(gzip.compress(text) if compress else text)
    inputs = [Tensor(1, 0, 16, 16, (2, 4), 2), Tensor(2, 8, 12, 12, (2, 2), 2)]
    assert {number: call.node() for number, call in read_execution_trace(path).items()} == {
        7: Node("aten::cat", inputs, [Tensor(3, 0, 24, 24, (2, 6), 2)], None, (0, 0)),
        8: Node("aten::item", [], []),
    }


def test_a_tensor_whose_elements_have_no_bytes_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "x.et.json"
    damaged = node(9, "aten::mm", values([[5, 4, 0, 4, 0, "cuda:0"]], [[4]], [[1]]), values([], [], []))
    path.write_text(json.dumps({"schema": "1.1.1-chakra.0.0.4", "nodes": [damaged]}))
    assert read_execution_trace(path)[9].node().inputs == []


@pytest.mark.parametrize("content", [b"", b"{", b'{"nodes": 3}', b"\x1f\x8bnot gzip"])
def test_damage_is_said(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.et.json"
    path.write_bytes(content)
    with pytest.raises(
        CompanionError, match=r"x\.et\.json: (.*expected an execution trace|cannot be read: gzip data cut off)"
    ):
        read_execution_trace(path)
