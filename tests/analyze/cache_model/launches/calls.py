"""Calls written by hand, and what their launches touch."""

from __future__ import annotations

from ridgeline.analyze.cache_model.launches import launches, touches
from ridgeline.analyze.cache_model.launches.launch import Launch, Node, call_of
from ridgeline.analyze.cache_model.operands import Tensor, Touch, view


def dense(storage: int, *shape: int, itemsize: int = 2) -> Tensor:
    return view(storage, 0, shape, None, itemsize)


def launched(operator: str, inputs: list[Tensor], outputs: list[Tensor], *kernels: str) -> list[Launch]:
    """The launches of a call; the storages of its tensors are numbered in the order of their first use."""
    return launches(call_of(Node(operator, inputs, outputs)), kernels, 132)


def touched(operator: str, inputs: list[Tensor], outputs: list[Tensor], *kernels: str) -> list[list[Touch]]:
    return [touches(launch) for launch in launched(operator, inputs, outputs, *kernels)]


def sizes(touches: list[Touch]) -> list[tuple[int, int, str]]:
    """Storage, bytes, and whether they are read or written."""
    return [(touch.storage, touch.bytes, "written" if touch.write else "read") for touch in touches]
