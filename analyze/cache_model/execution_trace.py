"""Tensors of operators from an execution trace (Chakra schema, as PyTorch's ExecutionTraceObserver writes it)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw

from ridgeline.analyze.cache_model.operands import Tensor, view
from ridgeline.analyze.cache_model.touches import Node, iterations
from ridgeline.analyze.companions.size_limit import read_bounded
from ridgeline.analyze.errors import CompanionError
from ridgeline.analyze.resources.limits import STANDARD, Limits


class _Attribute(msgspec.Struct, gc=False):
    name: str
    value: Raw = Raw(b"null")


class _Values(msgspec.Struct):
    values: list[Any] = []
    shapes: list[Any] = []
    strides: list[Any] = []


class _Node(msgspec.Struct, gc=False):
    name: str
    inputs: Raw = Raw(b"{}")
    outputs: Raw = Raw(b"{}")
    attrs: list[_Attribute] = []


class _File(msgspec.Struct):
    nodes: list[_Node]


def read_execution_trace(path: Path, wanted: Iterable[int] | None = None, limits: Limits = STANDARD) -> dict[int, Node]:
    """Calls by record function id, those ``wanted`` or all. Raises :class:`CompanionError`."""
    try:
        decoded = msgspec.json.decode(read_bounded(path, limits), type=_File)
        nodes = {_id(node): node for node in decoded.nodes}
        chosen = nodes.keys() - {b""} if wanted is None else nodes.keys() & {b"%d" % number for number in wanted}
        return {int(i): _call(nodes[i]) for i in chosen}
    except OSError as e:
        raise CompanionError(f"{path}: cannot be read: {e.strerror}") from None
    except (ValueError, TypeError, RecursionError, msgspec.MsgspecError) as e:
        raise CompanionError(f"{path}: {e}: expected an execution trace as PyTorch writes it") from None


def _id(node: _Node) -> bytes:
    """The record function id as it stands in the file; empty for a node that has none."""
    value = next((bytes(attribute.value) for attribute in node.attrs if attribute.name == "rf_id"), b"")
    return value if value.isdigit() else b""


def _call(node: _Node) -> Node:
    inputs, outputs = (msgspec.json.decode(recorded, type=_Values) for recorded in (node.inputs, node.outputs))
    numbers = [value for value in inputs.values if isinstance(value, int)]
    return Node(node.name, _tensors(inputs), _tensors(outputs), iterations(node.name, numbers))


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
    return (
        isinstance(value, list)
        and len(value) == 6
        and isinstance(value[5], str)
        and all(isinstance(number, int) and number >= 0 for number in value[1:5])
    )


def _tensor(value: list[Any], shape: Any, stride: Any) -> Iterator[Tensor]:
    _, storage, offset, elements, itemsize, device = value
    if not storage or device == "cpu":
        return
    if not _sizes(shape):
        shape, stride = [elements], None
    yield view(storage, offset, shape, stride if _sizes(stride) else None, itemsize)


def _sizes(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(size, int) and size >= 0 for size in value)
