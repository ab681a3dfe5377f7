"""The tensors of operators from an execution trace (Chakra schema, as PyTorch's ExecutionTraceObserver writes it)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeGuard

import msgspec
from msgspec import Raw

from ridgeline.analyze.cache_model.operands import Tensor, view
from ridgeline.analyze.cache_model.touches import Call, Node, call_of, iterations
from ridgeline.analyze.companions.size_limit import companion_errors, read_bounded
from ridgeline.analyze.resources.limits import STANDARD, Limits


class _Values(msgspec.Struct, gc=False):
    values: list[Any] = []
    shapes: list[Any] = []
    strides: list[Any] = []


class _Attribute(msgspec.Struct, gc=False):
    name: str
    value: Raw = Raw(b"null")


class _Node(msgspec.Struct, gc=False):
    name: str
    inputs: _Values = msgspec.field(default_factory=_Values)
    outputs: _Values = msgspec.field(default_factory=_Values)


class _Attributes(msgspec.Struct, gc=False):
    attrs: list[_Attribute] = []


class _File(msgspec.Struct):
    nodes: list[Raw]


_ID = re.compile(rb'{"name": ?"rf_id", ?"type": ?"uint64", ?"value": ?([0-9]+)}')
"""The attribute as PyTorch writes it."""


def read_execution_trace(path: Path, ids: Iterable[int] | None = None, limits: Limits = STANDARD) -> dict[int, Call]:
    """Calls by record function id: those with ``ids``, or all. Raises :class:`CompanionError`."""
    with companion_errors(path, "expected an execution trace as PyTorch writes it"):
        # Nodes stay text until their ids are compared, since most are not used.
        nodes: dict[bytes, Raw] = {}
        for node in msgspec.json.decode(read_bounded(path, limits), type=_File).nodes:
            if number := _record_id(node):
                nodes[number] = node
        chosen = nodes.keys() if ids is None else nodes.keys() & {b"%d" % number for number in ids}
        return {int(number): call for number, call in _calls({number: nodes[number] for number in chosen})}


def _record_id(node: Raw) -> bytes:
    """The digits of a node's record function id; none where it has no id."""
    text = memoryview(node)
    if match := _ID.search(text):
        return match[1]
    if b"rf_id" not in bytes(node):
        return b""
    attributes = msgspec.json.decode(node, type=_Attributes).attrs
    number = next((bytes(attribute.value) for attribute in attributes if attribute.name == "rf_id"), b"")
    return number if number.isdigit() else b""


def _calls(nodes: Mapping[bytes, Raw]) -> Iterator[tuple[bytes, Call]]:
    forms: dict[Node, Node] = {}
    decoder = msgspec.json.Decoder(_Node)
    for number, text in nodes.items():
        node = decoder.decode(text)
        numbers = [value for value in node.inputs.values if isinstance(value, int)]
        inputs, outputs = list(_tensors(node.inputs)), list(_tensors(node.outputs))
        form, places = call_of(Node(node.name, inputs, outputs, iterations(node.name, numbers)))
        # equal forms are one object, so that operands compares them by identity
        yield number, Call(forms.setdefault(form, form), places)


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
