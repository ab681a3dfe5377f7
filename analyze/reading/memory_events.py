"""Changes of memory as ``profile_memory`` records them: instants called ``[memory]``, one each time PyTorch's allocator
hands out memory or takes it back.

Imported by decoder processes, so with nothing but msgspec.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct, field

from ridgeline.analyze.reading.arguments import AnyEvent, decode_args, integers
from ridgeline.analyze.reading.arrays import Group
from ridgeline.analyze.reading.events import ABSENT, Number

INSTANT = "i"
"""The phase of an instant in the Chrome trace format."""
MEMORY = "[memory]"
_Bytes = Annotated[int, Meta(ge=-(1 << 60), le=1 << 60)]
"""Bytes whose sums and differences fit 64 bits; a larger number counts as not recorded."""


class MemoryArgs(Struct, gc=False):
    """The arguments of a change of memory.

    ``allocated`` and ``reserved`` are the allocator's totals after the change. PyTorch before 1.12 wrote none. On a CPU
    they count what the recording saw, and nothing is reserved.
    """

    bytes: _Bytes = field(name="Bytes", default=0)
    """Negative where memory is freed."""
    allocated: _Bytes = field(name="Total Allocated", default=ABSENT)
    reserved: _Bytes = field(name="Total Reserved", default=ABSENT)
    device_type: Number = field(name="Device Type", default=ABSENT)
    """A number of ``c10::DeviceType``."""
    device: Number = field(name="Device Id", default=ABSENT)
    """-1 for a CPU."""


def add_memory(group: Group, events: Sequence[AnyEvent]) -> None:
    """Append the arguments of changes of memory to the columns of ``group``."""
    args = decode_args(events, MemoryArgs)
    for name in MemoryArgs.__struct_fields__:
        group[name].fromlist(integers(args, name))
