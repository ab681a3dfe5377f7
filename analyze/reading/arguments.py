"""The arguments of events, decoded many at a time; imported by decoder processes, so with nothing but msgspec."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar

import msgspec

from ridgeline.analyze.reading.categories import ANNOTATION, OLD_OPERATOR, OPERATOR
from ridgeline.analyze.reading.events import ABSENT, DeviceArgs, Event, ExactEvent, GridArgs, OldArgs, OperatorArgs
from ridgeline.analyze.reading.reader import JSON_ERRORS

AnyEvent = Event | ExactEvent
COLLECTIVE = "nccl:"
"""The start of the names of annotations that record a collective's tensors: ``nccl:all_reduce``."""
_MEASURES = ("kernel_num_gb", "kernel_flop")
_num_gb = attrgetter("kernel_num_gb")
T = TypeVar("T", bound=msgspec.Struct)


def integers(args: Sequence[Any], name: str) -> list[int]:
    """Return a field of all arguments, with ``ABSENT`` where it is null."""
    values = list(map(attrgetter(name), args))
    return [ABSENT if value is None else value for value in values] if None in values else values


def is_of_lists(kernel: str) -> bool:
    """Return whether the kernel of this name works on lists of tensors."""
    return "multi_tensor_apply" in kernel


def blocks_of_lists(events: Sequence[AnyEvent]) -> list[int]:
    """Return the blocks of kernels that work on lists of tensors, ABSENT for others; an empty list if none does."""
    named = {name for name in {event.name for event in events} if is_of_lists(str(name))}
    if not named:
        return []
    rows = [row for row, event in enumerate(events) if event.name in named]
    blocks = [ABSENT] * len(events)
    for row, args in zip(rows, decode_args([events[row] for row in rows], GridArgs), strict=True):
        blocks[row] = math.prod(args.grid) if args.grid else ABSENT
    return blocks


@cache
def _decoder(struct: type[T]) -> msgspec.json.Decoder[T]:
    return msgspec.json.Decoder(struct)


def decode_args(events: Sequence[AnyEvent], struct: type[T]) -> list[T]:
    """Decode the arguments of all events; if that fails, field by field.

    A field of a wrong type is then as if it were not recorded.
    """
    decode = _decoder(struct).decode
    try:
        return [decode(event.args) for event in events]
    except JSON_ERRORS:
        pass
    fields = msgspec.structs.fields(struct)
    decoded_args = []
    for recorded in (decode_object(event.args) for event in events):
        values = {}
        for field in fields:
            with suppress(KeyError, *JSON_ERRORS):
                values[field.name] = msgspec.json.decode(recorded[field.encode_name], type=field.type)
        decoded_args.append(struct(**values))
    return decoded_args


def decode_object(raw: msgspec.Raw) -> dict[str, msgspec.Raw]:
    """Return the fields of an object as JSON; none if it is no object."""
    try:
        return msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except JSON_ERRORS:
        return {}


def fill_from_old(events: Sequence[AnyEvent], args: Sequence[DeviceArgs | OperatorArgs]) -> None:
    """Fill the arguments that are not recorded from those of the names of PyTorch 1.8 to 1.10."""
    for each, old in zip(args, decode_args(events, OldArgs), strict=True):
        if each.external_id in (None, ABSENT):
            each.external_id = old.external_id
        if isinstance(each, OperatorArgs) and not each.dims:
            each.dims = old.dims


def with_object(concrete: bytes | msgspec.Raw, text: bytes) -> bytes:
    """Return the concrete inputs with a JSON object at the end; unchanged if they are no list."""
    with suppress(*JSON_ERRORS):
        inputs = msgspec.json.decode(concrete or b"[]", type=list[msgspec.Raw])
        return msgspec.json.encode([*inputs, msgspec.Raw(text)])
    return bytes(concrete)


def add_measures(events: Sequence[AnyEvent], args: Sequence[OperatorArgs]) -> None:
    """Add to the concrete inputs of Inductor's kernels what it counted of their work.

    Inductor records bytes under `profile_bandwidth`, FLOPs under `benchmark_kernel`. Its profile analysis writes the
    same keys to other operators, which the rules price better.
    """
    if any(map(_num_gb, args)):
        for event, each in zip(events, args, strict=True):
            if str(event.name).startswith("triton_"):
                measures = {name: raw for name in _MEASURES if (raw := getattr(each, name))}
                if measures:
                    each.concrete = msgspec.Raw(with_object(each.concrete, msgspec.json.encode(measures)))


def divide(groups: dict[str | None, list[AnyEvent]]) -> None:
    """Move annotations that stand among the operators to the annotations, and those of collectives to the operators.

    PyTorch 1.8 wrote the profiler's own annotations among the operators. Only the annotation of a collective records
    its tensors in traces of PyTorch before 2.1.
    """
    if OLD_OPERATOR in groups:
        _move(groups, OLD_OPERATOR, ANNOTATION, ("ProfilerStep#", "Optimizer."))
    if ANNOTATION in groups:
        _move(groups, ANNOTATION, OPERATOR, (COLLECTIVE,))


def _move(groups: dict[str | None, list[AnyEvent]], source: str, target: str, starts: tuple[str, ...]) -> None:
    """Move the events with these starts of names from one category to another."""
    moved: list[AnyEvent] = []
    kept: list[AnyEvent] = []
    for event in groups[source]:
        (moved if str(event.name).startswith(starts) else kept).append(event)
    if moved:
        groups[source] = kept
        groups[target] += moved
