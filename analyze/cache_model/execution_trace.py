"""The tensors of operators from an execution trace (Chakra schema, as PyTorch's ExecutionTraceObserver writes it)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeGuard

import msgspec
from msgspec import Raw

from ridgeline.analyze.cache_model.operands import Tensor, view
from ridgeline.analyze.cache_model.touches import Node, iterations
from ridgeline.analyze.companions.size_limit import companion_errors, read_bounded
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


def read_execution_trace(path: Path, ids: Iterable[int] | None = None, limits: Limits = STANDARD) -> dict[int, Node]:
    """Calls by record function id: those with ``ids``, or all. Raises :class:`CompanionError`."""
    with companion_errors(path, "expected an execution trace as PyTorch writes it"):
        decoded = msgspec.json.decode(read_bounded(path, limits), type=_File)
        # Ids stay bytes until they are compared, since most nodes are not used.
        nodes: dict[bytes, _Node] = {}
        for node in decoded.nodes:
            number = next((bytes(attribute.value) for attribute in node.attrs if attribute.name == "rf_id"), b"")
            if number.isdigit():
                nodes[number] = node
        chosen = nodes.keys() if ids is None else nodes.keys() & {b"%d" % number for number in ids}
        calls = {}
        for number in chosen:
            node = nodes[number]
            inputs, outputs = (msgspec.json.decode(values, type=_Values) for values in (node.inputs, node.outputs))
            numbers = [value for value in inputs.values if isinstance(value, int)]
            calls[int(number)] = Node(
                node.name, list(_tensors(inputs)), list(_tensors(outputs)), iterations(node.name, numbers)
            )
        return calls


def _tensors(recorded: _Values) -> Iterator[Tensor]:
    """Tensors of nested lists of values; shapes nest in the same way, and strides where they were recorded."""
    # shapes and strides may be shorter than the values
    for value, shape, stride in zip_longest(recorded.values, recorded.shapes, recorded.strides):
        match value:
            # tensor id, storage id, offset, elements, bytes of an element, device
            case [_, int(storage), int(offset), int(elements), int(itemsize), str(device)] if (
                min(storage, offset, elements, itemsize) >= 0
            ):
                if storage and device != "cpu":
                    if not _is_sizes(shape):
                        shape, stride = [elements], None
                    yield view(storage, offset, shape, stride if _is_sizes(stride) else None, itemsize)
            case list():
                yield from _tensors(
                    _Values(value, shape if isinstance(shape, list) else [], stride if isinstance(stride, list) else [])
                )


def _is_sizes(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(isinstance(size, int) and size >= 0 for size in value)
