"""The arguments of events, decoded many at a time; imported by decoder processes, so with nothing but msgspec."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar

import msgspec

from ridgeline.analyze.reading.categories import ANNOTATION, OLD_OPERATOR
from ridgeline.analyze.reading.events import ABSENT, DeviceArgs, Event, ExactEvent, OldArgs, OperatorArgs
from ridgeline.analyze.reading.reader import JSON_ERRORS

AnyEvent = Event | ExactEvent
T = TypeVar("T", bound=msgspec.Struct)


def integers(args: Sequence[Any], name: str) -> list[int]:
    """Return a field of all arguments, with ``ABSENT`` where it is null."""
    values = list(map(attrgetter(name), args))
    return [ABSENT if value is None else value for value in values] if None in values else values


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


def divide_old_operators(groups: dict[str | None, list[AnyEvent]]) -> None:
    """Move the profiler's own annotations, which PyTorch 1.8 wrote among the operators, to the annotations."""
    operators: list[AnyEvent] = []
    for event in groups[OLD_OPERATOR]:
        is_annotation = str(event.name).startswith(("ProfilerStep#", "Optimizer."))
        (groups[ANNOTATION] if is_annotation else operators).append(event)
    groups[OLD_OPERATOR] = operators
