"""The Python frames around each device activity's launch, folded, and the innermost frame of the user's own code.

Events of modules are left out of stacks, and so are the addresses of objects: stacks of equal code then are equal.
Backward kernels have the frames around their forward operator, as :mod:`ridgeline.analyze.attribution.origins` says.
"""

from __future__ import annotations

import re
import sys
from typing import NamedTuple

import numpy as np
import polars as pl

from ridgeline.analyze.attribution.modules import EVENT
from ridgeline.analyze.attribution.origins import Origins
from ridgeline.analyze.attribution.spans import ROOT, Int64, Integers, holds_a_moment, innermost, numbered, take
from ridgeline.analyze.reading.trace import Trace

_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")
_FRAME = re.compile(r"(.+)\((\d+)\): (.*)", re.DOTALL)
_PACKAGES = re.compile(r".*(?:^|/)(?:site|dist)-packages/")
_STANDARD = re.compile(r"(?:^|/)(?:lib(?:64)?/python\d[^/]*|[A-Za-z]:/.*/Lib)/")
_NOT_THE_USERS = frozenset({*sys.stdlib_module_names, "torch", "torchgen", "functorch", "triton"})
_COMPILER = re.compile(r"torchinductor_|(?:^|/)triton/(?:backends|compiler|language|runtime)/")
_SPAN = ("thread", "start_ns", "duration_ns", "name")
_SCHEMA = {"stack_id": pl.Int64, "stack": pl.String, "source_line": pl.String, "function": pl.String}


class _Stack(NamedTuple):
    """A frame and the stack around it, by their numbers, and the innermost frames of the user and of a package."""

    outer: int
    frame: int
    user: int | None
    package: int | None


class _Stacks:
    """Stacks that share their outer frames; ``frames`` are the texts of frames, each once."""

    def __init__(self, frames: list[str]) -> None:
        self._frames = frames
        self._described = [_describe(frame) for frame in frames]
        self._stacks: list[_Stack] = []

    def add(self, outer: int, frame: int) -> int:
        """The number of a new stack: ``frame`` inside the stack ``outer``, or inside none if that is ``ROOT``."""
        user, package = (None, None) if outer == ROOT else self._stacks[outer][2:]
        owner = self._described[frame][0]
        user, package = frame if owner == "user" else user, frame if owner == "package" else package
        self._stacks.append(_Stack(outer, frame, user, package))
        return len(self._stacks) - 1

    def row(self, number: int) -> tuple[str, str | None, str | None]:
        """The stack's frames, the outermost first, and ``file:line`` and function of its innermost user's frame."""
        stack, frames = self._stacks[number], []
        source = stack.package if stack.user is None else stack.user
        _, line, function = self._described[source] if source is not None else (None, None, None)
        while number != ROOT:
            frames.append(self._frames[self._stacks[number].frame])
            number = self._stacks[number].outer
        return ";".join(reversed(frames)), line, function


class StackRows(NamedTuple):
    """The stacks of a trace's activities."""

    columns: list[pl.Series]
    """The column ``stack_id`` of the activities, null where no frame is known; none for a trace without any frames."""
    rows: pl.DataFrame
    """Rows of the table ``stacks``."""


def stack_rows(trace: Trace, origins: Origins) -> StackRows:
    """The Python stack of each activity, and the rows of the table ``stacks``."""
    if trace.frames.is_empty():
        return StackRows([], pl.DataFrame(schema=_SCHEMA))
    # Few of a trace's frames are around a launch: the others are left out first.
    thread, start_ns, duration_ns, name = (trace.frames[column].to_numpy() for column in _SPAN)
    end_ns = start_ns + duration_ns
    kept = holds_a_moment(thread, start_ns, end_ns, origins.thread, origins.at_ns)
    kept &= ~np.array([text.startswith(EVENT) for text in trace.names])[name]
    thread, start_ns, end_ns, name = thread[kept], start_ns[kept], end_ns[kept], name[kept]
    parent, around = innermost(thread, start_ns, end_ns, origins.thread, origins.at_ns)
    used, place = _renumbered(name)
    texts = [_ADDRESS.sub("", trace.names[code]).replace(";", ",") for code in used.tolist()]
    frames = {text: frame for frame, text in enumerate(dict.fromkeys(texts))}
    stacks = _Stacks(list(frames))
    frame = np.array([frames[text] for text in texts], dtype=np.int64)[place]
    numbers = origins.first(take(numbered(parent, frame, stacks.add), around), take(start_ns, around))
    # Only stacks with an activity are stored.
    stored, numbers[numbers != ROOT] = _renumbered(numbers[numbers != ROOT])
    rows = [(stack_id, *stacks.row(number)) for stack_id, number in enumerate(stored.tolist())]
    stack_id = pl.Series("stack_id", numbers).replace(ROOT, None)
    return StackRows([stack_id], pl.DataFrame(rows, _SCHEMA, orient="row"))


def _renumbered(codes: Integers) -> tuple[Int64, Int64]:
    """The codes in use, in order, and for each code its place among them; codes count from 0."""
    used = np.bincount(codes) > 0
    return np.flatnonzero(used), (np.cumsum(used) - 1)[codes]


def _describe(frame: str) -> tuple[str | None, str | None, str | None]:
    """The owner of a frame's code, its ``file:line`` and its function.

    The owner is user, package, or None for the code of Python, of PyTorch and of PyTorch's compiler.
    Kineto shortens paths by the entries of ``sys.path``, so that an installed package looks like the user's own.

    >>> _describe("/home/x/train.py(12): step")
    ('user', '/home/x/train.py:12', 'step')
    >>> _describe("torch/nn/modules/module.py(1501): _call_impl")[0]
    """
    match = _FRAME.fullmatch(frame)
    if not match or (frame.startswith("<") and not frame.startswith("<ipython-input")):
        return None, None, None
    file, line, function = match.groups()
    path = file.replace("\\", "/")
    packages = _PACKAGES.match(path)
    inside = path[packages.end() :] if packages else path
    top = inside.partition("/")[0].removesuffix(".py")
    if _COMPILER.search(path) or top in _NOT_THE_USERS or (not packages and _STANDARD.search(path)):
        return None, None, None
    return "package" if packages else "user", f"{file}:{line}", function
