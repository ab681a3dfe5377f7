"""What each launch of an operator's call touches: a rule for each operator, and a default for all others.

Each module has ``RULES`` by base name of the operator. A rule sees the call's tensors, the names of all its kernels and
the number of one launch, and returns what this launch touches. Returned as a ``Helper`` or a ``Chunk``, the touches are
also the launch's own bytes in the warehouse (``kernels.launch_bytes``). A launch that its rule does not know reads all
inputs of the call and writes all outputs; if a call has several such launches, each touches an unknown part, and the
warehouse has no modelled bytes of them. A change of a rule changes the model's numbers: raise ``VERSION`` of the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import polars as pl

from ridgeline.analyze.cache_model.launches import (
    attention,
    convolutions,
    embeddings,
    experts,
    gathers,
    images,
    jagged,
    lists,
    norms,
    products,
    recurrent,
    softmax,
    sorts,
)
from ridgeline.analyze.cache_model.launches.engines import engine
from ridgeline.analyze.cache_model.launches.generated import generated
from ridgeline.analyze.cache_model.launches.launch import (
    Call,
    Chunk,
    Helper,
    Launch,
    Rule,
    Whole,
    part,
    read,
    same,
    write,
    writes_into_argument,
)
from ridgeline.analyze.cache_model.operands import SCATTERED, Place, Touch, repeated
from ridgeline.analyze.cache_model.tiles import combines_parts
from ridgeline.analyze.pricing.families import base_name

_MODULES = (
    attention,
    convolutions,
    experts,
    gathers,
    images,
    embeddings,
    jagged,
    lists,
    norms,
    products,
    recurrent,
    softmax,
    sorts,
)
RULES: dict[str, Rule] = {name: rule for module in _MODULES for name, rule in module.RULES.items()}
_OVERWRITES = frozenset({"copy", "fill", "zero", "arange", "random", "uniform", "normal", "exponential"})
_FILLS = frozenset({"zero", "fill", "zeros", "full"})
"""Operators whose work a memset does."""
_ITERATORS = ("elementwise_kernel", "reduce_kernel")
_MOST_ADDRESSED = (1 << 31) - 1
"""Bytes of the longest operand that a kernel of PyTorch's TensorIterator takes, since its offsets have 32 bits. The
iterator halves a longer operand along its outermost dimension and launches the same kernel for each part."""
_MOST_LAUNCHES = 4096
"""Launches of a call beyond which its rule sees each launch alone: rules look at all launches for each of them."""


class Touched(NamedTuple):
    """What the kernels of calls touch."""

    operands: pl.DataFrame
    """As :func:`ridgeline.analyze.cache_model.predict.predict` takes them."""
    undivided: set[int]
    """Kernels that touch an unknown part of their operands: no rule tells them from others of their call."""


def operands(kernels: pl.DataFrame, calls: Mapping[int, Call], sms: int = 132) -> pl.DataFrame:
    """The operands of all kernels; see :func:`touched`."""
    return touched(kernels, calls, sms).operands


def touched(kernels: pl.DataFrame, calls: Mapping[int, Call], sms: int) -> Touched:
    """What all kernels touch.

    ``kernels`` has ``kernel``, ``name`` and ``call``, the key of its operator's call in ``calls`` or null, in the order
    of the launches. ``sms`` is the number of multiprocessors, which decides the size of a wave of tiles.
    """
    # Kernels of one name and number in calls of one form touch the same pieces of their places.
    templates: dict[tuple[int, tuple[str, ...]], int] = {}
    pieces: list[list[Touch]] = []
    undivided: set[int] = set()
    places: list[Place] = []
    numbers: list[int] = []
    used: list[int] = []
    starts: list[int] = []
    by_call = kernels.filter(pl.col("call").is_in(list(calls))).group_by("call", maintain_order=True)
    for number, launched, names in by_call.agg("kernel", "name").iter_rows():
        call = calls[number]
        key = id(call.form), tuple(names)
        if (first := templates.get(key)) is None:
            first = templates[key] = len(pieces)
            pieces += [touches(launch) for launch in launches(call, key[1], sms)]
            whole = {at for at in range(first, len(pieces)) if isinstance(pieces[at], Whole)}
            undivided |= whole if len(whole) > 1 else set()
        numbers += launched
        used += range(first, first + len(launched))
        starts += [len(places)] * len(launched)
        places += call.places
    unknown = {number for number, template in zip(numbers, used, strict=True) if template in undivided}
    return Touched(repeated(numbers, used, pieces, starts, places), unknown)


def launches(call: Call, names: tuple[str, ...], sms: int) -> list[Launch]:
    """The launches of a call, whose tensors are numbers of its places."""
    if len(names) > _MOST_LAUNCHES:
        return [Launch(call.form, (name,), 0, sms) for name in names]
    return [Launch(call.form, names, at, sms) for at in range(len(names))]


def touches(launch: Launch) -> list[Touch]:
    """The distinct operands of a launch; none of a memset that clears a workspace, whose bytes the trace has."""
    operator, name = launch.call.operator, base_name(launch.call.operator)
    if launch.kernel.startswith("Memset") and name not in _FILLS:
        return []
    rule = generated if operator.startswith("triton_") else RULES.get(name, engine)
    touched = None if combines_parts(launch.kernel) else rule(launch)
    if touched is None:
        touched = _default(launch)
    distinct = type(touched)(dict.fromkeys(touch for touch in touched if touch.bytes))
    return distinct if isinstance(distinct, Helper | Chunk) else _part(launch, distinct)


def addresses(operator: str) -> bool:
    """Whether an operator uses only those rows of its tensors that an index names."""
    name = base_name(operator)
    return name in gathers.RULES or name in embeddings.RULES or operator.startswith("triton_")


def _default(launch: Launch) -> list[Touch]:
    """Every input is read and every output written; an operand that is only overwritten is not read.

    A kernel that combines partial results only writes the outputs.
    """
    call, name = launch.call, base_name(launch.call.operator)
    if combines_parts(launch.kernel):
        return [*map(write, call.outputs)]
    into = writes_into_argument(call.operator) or any(same(call.inputs[-1], o) for o in call.outputs if call.inputs[1:])
    replaced = call.outputs if name in _OVERWRITES or into else ()
    # A kernel takes its result in order. It reads a transposed operand in pieces of a sector, and repeated elements
    # again: multiprocessors of both halves of the L2 read them.
    order = {o.shape: o.fastest for o in call.outputs}
    whole = [
        read(i)._replace(shared=SCATTERED if i.is_repeated or i.fastest != order.get(i.shape, i.fastest) else 0)
        for i in call.inputs
        if not any(same(i, o) for o in replaced)
    ]
    return Whole([*whole, *map(write, call.outputs)])


def _part(launch: Launch, whole: list[Touch]) -> list[Touch]:
    """The part of the operands that a launch of PyTorch's iterator touches, if it is one of several."""
    too_long = any(tensor.span > _MOST_ADDRESSED for tensor in (*launch.call.inputs, *launch.call.outputs))
    if not too_long or not any(iterator in launch.kernel for iterator in _ITERATORS):
        return whole
    same_kernel = [at for at, kernel in enumerate(launch.kernels) if kernel == launch.kernel]
    at, parts = same_kernel.index(launch.at), len(same_kernel)
    return [part(touch, at, parts) for touch in whole]
