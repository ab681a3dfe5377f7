"""The tensors of operators from an execution trace (Chakra schema, as PyTorch's ExecutionTraceObserver writes it)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw

from ridgeline.analyze.cache_model.launches.launch import Call, Node, call_of
from ridgeline.analyze.cache_model.operands import Tensor, is_sizes, view
from ridgeline.analyze.companions.size_limit import companion_errors, read_bounded
from ridgeline.analyze.pricing.rules import triton
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
    layouts: _Layouts = {}
    decoder = msgspec.json.Decoder(_Node)
    for number, text in nodes.items():
        node = decoder.decode(text)
        inputs, outputs = (
            _tensors(part.values, part.shapes, part.strides, layouts) for part in (node.inputs, node.outputs)
        )
        numbers = [value for value in node.inputs.values if isinstance(value, int)]
        arguments = tuple([argument for argument, _ in inputs])
        read, written = ([tensor for _, tensor in part] for part in (inputs, outputs))
        if triton.iterations(node.name, numbers) and triton.in_place(node.name, [t.shape for t in read], numbers):
            written = read[:1]
        form, places = call_of(Node(node.name, read, written, triton.iterations(node.name, numbers), arguments))
        # equal forms are one object, so that operands compares them by identity
        yield number, Call(forms.setdefault(form, form), places)


_Layouts = dict[tuple[object, ...], tuple[int, int, tuple[int, ...], int, int]]
"""The fields of tensors after the offset, by shape, strides and bytes of an element."""


def _tensors(values: list[Any], shapes: Any, strides: Any, layouts: _Layouts) -> list[tuple[int, Tensor]]:
    """Tensors of nested lists of values, each with the position of its argument.

    Shapes nest in the same way, and strides where they were recorded.
    """
    tensors: list[tuple[int, Tensor]] = []
    for i, value in enumerate(values):
        if not isinstance(value, list):
            continue
        # shapes and strides may be shorter than the values, or missing
        shape = shapes[i] if isinstance(shapes, list) and i < len(shapes) else None
        stride = strides[i] if isinstance(strides, list) and i < len(strides) else None
        # tensor id, storage id, offset, elements, bytes of an element, device; a match statement takes thrice as long
        if len(value) == 6 and isinstance(value[5], str) and is_sizes(value[1:5]):
            _, storage, offset, elements, itemsize, device = value
            if storage and itemsize and device != "cpu":
                if not is_sizes(shape):
                    shape, stride = [elements], None
                steps = tuple(stride) if is_sizes(stride) else None
                key = tuple(shape), steps, itemsize
                if (layout := layouts.get(key)) is None:
                    layout = layouts[key] = view(0, 0, shape, steps, itemsize)[2:]
                tensors.append((i, Tensor(storage, offset * itemsize, *layout)))
        else:
            tensors += [(i, tensor) for _, tensor in _tensors(value, shape, stride, layouts)]
    return tensors
