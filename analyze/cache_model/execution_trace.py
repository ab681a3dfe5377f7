"""Tensors of every operator from an execution trace (Chakra schema, as PyTorch's ExecutionTraceObserver writes it)."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from analyze.cache_model.operands import Tensor, view
from analyze.cache_model.touches import Node
from analyze.errors import CompanionError


class _Attribute(msgspec.Struct):
    name: str
    value: Any = None


class _Values(msgspec.Struct):
    values: list[Any] = []
    shapes: list[Any] = []
    strides: list[Any] = []


class _Node(msgspec.Struct):
    name: str
    inputs: _Values = msgspec.field(default_factory=_Values)
    outputs: _Values = msgspec.field(default_factory=_Values)
    attrs: list[_Attribute] = []


class _File(msgspec.Struct):
    nodes: list[_Node]


def read_execution_trace(path: Path) -> dict[int, Node]:
    """Calls by record function id. Raises :class:`CompanionError`."""
    try:
        content = path.read_bytes()
        data = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        nodes = msgspec.json.decode(data, type=_File).nodes
    except (OSError, EOFError, ValueError, msgspec.MsgspecError) as e:
        raise CompanionError(f"{path}: {e}: expected an execution trace as PyTorch writes it") from None
    return {identifier: Node(n.name, _tensors(n.inputs), _tensors(n.outputs)) for n in nodes if (identifier := _id(n))}


def _id(node: _Node) -> int:
    value = next((attribute.value for attribute in node.attrs if attribute.name == "rf_id"), 0)
    return value if isinstance(value, int) else 0


def _tensors(recorded: _Values) -> list[Tensor]:
    return list(_walk(recorded.values, recorded.shapes, recorded.strides))


def _walk(values: Any, shapes: Any, strides: Any) -> Iterator[Tensor]:
    """Tensors of nested lists; shapes and strides nest alike, strides only where they were recorded."""
    for i, value in enumerate(values):
        shape = shapes[i] if isinstance(shapes, list) and i < len(shapes) else None
        stride = strides[i] if isinstance(strides, list) and i < len(strides) else None
        if _is_tensor(value):
            yield from _tensor(value, shape, stride)
        elif isinstance(value, list):
            yield from _walk(value, shape, stride)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 6 and isinstance(value[5], str)


def _tensor(value: list[Any], shape: Any, stride: Any) -> Iterator[Tensor]:
    _, storage, offset, elements, itemsize, device = value
    if not storage or device == "cpu":
        return
    if not _sizes(shape):
        shape, stride = [elements], None
    yield view(storage, offset, shape, stride if _sizes(stride) else None, itemsize)


def _sizes(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(size, int) for size in value)
