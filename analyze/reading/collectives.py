"""What Kineto writes of a collective: on the operator ``record_param_comms``, and on the kernels that it launched.

Torch 2.1 and later write it (``saveNcclMeta`` in torch/csrc/profiler/util.cpp). Imported by decoder processes, so with
nothing but msgspec.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Raw, Struct, field, json

from ridgeline.analyze.reading.arguments import AnyEvent, decode_args, with_object
from ridgeline.analyze.reading.events import Number, OperatorArgs

RECORDER = "record_param_comms"
"""The operator that describes every collective of a process group."""


def may_be_collective(kernel: str) -> bool:
    """Return whether it is a kernel of NCCL, RCCL, MSCCL or oneCCL; no other has the arguments of a collective."""
    return "ccl" in kernel.lower()


class CollectiveArgs(Struct, gc=False):
    collective: str | None = field(name="Collective name", default=None)
    dtype: str | None = None
    """The element type, as ``c10::ScalarType`` names it: ``BFloat16``."""
    in_elements: Number = field(name="In msg nelems", default=None)
    out_elements: Number = field(name="Out msg nelems", default=None)
    ranks: Number = field(name="Group size", default=None)


def _text_of(args: CollectiveArgs) -> str | None:
    """Return the arguments as the text of a JSON object, None where no collective is named."""
    if not args.collective:
        return None
    values = {name: getattr(args, name) for name in CollectiveArgs.__struct_fields__}
    return json.encode({name: value for name, value in values.items() if value is not None}).decode()


def texts_of(events: Sequence[AnyEvent]) -> list[str | None]:
    """Return what each kernel's arguments say of its collective; an empty list if none says anything."""
    named = {name for name in {event.name for event in events} if may_be_collective(str(name))}
    if not named:
        return []
    rows = [row for row, event in enumerate(events) if event.name in named]
    texts: list[str | None] = [None] * len(events)
    for row, args in zip(rows, decode_args([events[row] for row in rows], CollectiveArgs), strict=True):
        texts[row] = _text_of(args)
    return texts if any(texts) else []


def add_collectives(events: Sequence[AnyEvent], args: Sequence[OperatorArgs]) -> None:
    """Add to the concrete inputs of each ``record_param_comms`` what its arguments say of the collective."""
    rows = [row for row, event in enumerate(events) if event.name == RECORDER]
    for row, each in zip(rows, decode_args([events[row] for row in rows], CollectiveArgs), strict=True):
        if text := _text_of(each):
            args[row].concrete = Raw(with_object(args[row].concrete, text.encode()))
