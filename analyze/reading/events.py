"""The fields of a Kineto event that Ridgeline reads, as typed structs. Other fields of a trace are skipped."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, cast

from msgspec import DecodeError, Meta, Raw, Struct, field, json, structs

Identifier = int | str | float | None
ABSENT = -1
"""The value of an identifier that is not recorded."""
LARGEST_DEVICE = 1 << 31
NO_TIME_US = -(1 << 42)
"""The start of an event without a time stamp: 50 days before zero, where no clock of a trace is."""
NO_TIME_NS = NO_TIME_US * 1000


# gc=False, since events have no cycles and a collection would visit millions of them


def is_index(number: object) -> bool:
    """Return whether ``number`` may be the index of a device."""
    return isinstance(number, int) and 0 <= number < LARGEST_DEVICE


class _Place(Struct, gc=False):
    """What an event is and where it ran. The fields of events stand in Kineto's order, which decodes fastest."""

    ph: str = ""
    cat: str | None = None
    name: str | int | float | None = None
    pid: Identifier = None
    tid: Identifier = None


EXACT_BELOW_US = 1 << 43
"""Doubles are less than a nanosecond apart below 2^43 microseconds."""
LARGEST_TIME_NS = (1 << 61) - 1
"""A start, a duration and their sum fit 64 bits: 73 years, of a clock that counts from 1970 or from boot."""
_LARGEST_WHOLE_US = LARGEST_TIME_NS // 1000
_WholeUs = Annotated[int, Meta(ge=-_LARGEST_WHOLE_US, le=_LARGEST_WHOLE_US)]
_Us = Annotated[float, Meta(gt=-float(EXACT_BELOW_US), lt=float(EXACT_BELOW_US))]


class Event(_Place, gc=False):
    """One entry of ``traceEvents``; ``ts`` and ``dur`` are microseconds with at most three decimals.

    Times that a double does not hold to the nanosecond do not decode: the decoder checks millions of events at no cost,
    a loop in Python would not. A double holds whole numbers up to 2^53, such as microseconds since 1970.
    """

    ts: _WholeUs | _Us = NO_TIME_US
    dur: _WholeUs | _Us = 0
    args: Raw = Raw(b"{}")


class ExactEvent(_Place, gc=False):
    """An event with time stamps that no double holds to the nanosecond."""

    ts: Decimal = Decimal(NO_TIME_US)
    dur: Decimal = Decimal(0)
    args: Raw = Raw(b"{}")


Number = Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)] | None
"""An identifier or a size; one beyond 64 bits counts as not recorded."""


_Size = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]


class OperatorArgs(Struct, gc=False):
    external_id: Number = field(name="External id", default=ABSENT)
    record_id: Number = field(name="Record function id", default=ABSENT)
    dims: Raw = field(name="Input Dims", default=Raw())
    types: Raw = field(name="Input type", default=Raw())
    strides: Raw = field(name="Input Strides", default=Raw())
    concrete: Raw = field(name="Concrete Inputs", default=Raw())
    sequence: Number = field(name="Sequence number", default=ABSENT)
    """Autograd's number of the call; a backward operator has the number of its forward operator."""
    forward_thread: Number = field(name="Fwd thread id", default=ABSENT)
    """PyTorch's own number of the thread of the forward operator; 0 on forward operators, ABSENT where neither."""
    kernel_num_gb: Raw = Raw()
    kernel_flop: Raw = Raw()


class LaunchArgs(Struct, gc=False):
    correlation: Number = ABSENT
    kernel: str | None = None
    """The kernel's name; only ROCm writes it."""


class UncorrelatedLaunchArgs(Struct, gc=False):
    """The arguments of a launch that has no ``correlation``, as ROCm's writers left it out until 2023."""

    external_id: Number = field(name="External id", default=ABSENT)
    kernel: str = field(name="Kernel", default="")


class OldArgs(Struct, gc=False):
    """Arguments under the names that PyTorch 1.8 to 1.10 gave them."""

    external_id: Number = field(name="external id", default=ABSENT)
    dims: Raw = field(name="Input dims", default=Raw())


class DeviceArgs(Struct, gc=False):
    external_id: Number = field(name="External id", default=ABSENT)
    correlation: Number = ABSENT
    device: Number = ABSENT
    stream: Number = ABSENT
    bytes: Number = ABSENT
    graph_id: Number = field(name="graph id", default=ABSENT)
    graph_node_id: Number = field(name="graph node id", default=ABSENT)
    """Node of the replayed CUDA graph (torch 2.14 and later)."""
    grid: Raw = Raw()
    block: Raw = Raw()
    registers: Raw = field(name="registers per thread", default=Raw())
    shared_bytes: Raw = field(name="shared memory", default=Raw())
    occupancy: Raw = field(name="est. achieved occupancy %", default=Raw())


_Blocks = Annotated[int, Meta(ge=0, lt=1 << 20)]


class GridArgs(Struct, gc=False):
    """The number of a kernel's blocks in each of its dimensions."""

    grid: tuple[_Blocks, _Blocks, _Blocks] | None = None


class _Device(Struct):
    id: _Size = 0
    name: str = ""
    total_memory: _Size | None = field(name="totalGlobalMem", default=None)
    compute_major: _Size | None = field(name="computeMajor", default=None)
    compute_minor: _Size | None = field(name="computeMinor", default=None)
    multiprocessors: _Size | None = field(name="numSms", default=None)


class DeviceProperties(_Device):
    """A device, with what one of its multiprocessors holds at a time."""

    threads: _Size | None = field(name="maxThreadsPerMultiprocessor", default=None)
    registers: _Size | None = field(name="regsPerMultiprocessor", default=None)
    """Of 32 bits; only CUDA writes it."""
    shared_bytes: _Size | None = field(name="sharedMemPerMultiprocessor", default=None)
    """Only CUDA writes it."""


class Distributed(Struct):
    rank: Annotated[int, Meta(ge=0, lt=1 << 31)] = 0
    world_size: _Size | None = None


class Header(Struct):
    """The header keys that Ridgeline reads; host names, user names and environments are not among them."""

    devices: list[DeviceProperties] = field(default_factory=list)
    rank: int = 0
    world_size: int | None = None
    base_time_ns: int | None = None
    """The epoch time of 0 on the trace's clock; None where it is unknown."""
    profile_memory: bool = False
    """True if changes of memory were recorded."""


class _RawHeader(Struct):
    devices: Raw = field(name="deviceProperties", default=Raw(b"[]"))
    distributed: Raw = field(name="distributedInfo", default=Raw(b"{}"))
    base_time_ns: Raw = field(name="baseTimeNanoseconds", default=Raw(b"null"))
    profile_memory: Raw = Raw(b"0")


def decode_header(text: bytes) -> Header:
    """Return the header of a trace, without keys of another form than Kineto's. Raises ``msgspec.DecodeError``.

    A trace that is a list of events has no header.
    """
    if text.lstrip().startswith(b"["):
        json.decode(text, type=list[Raw])
        return Header()
    # field by field, so that one of a wrong type does not cost the others
    raw = json.decode(text, type=_RawHeader)
    distributed = _decode_or(raw.distributed, Distributed, Distributed())
    entries = _decode_or(raw.devices, list[Raw], [])
    devices = [_decode_device(entry) for entry in entries]
    base_time_ns = _decode_or(raw.base_time_ns, _Size | None, None)
    profile_memory = _decode_or(raw.profile_memory, int | bool, False)
    return Header(
        [device for device in devices if device],
        distributed.rank,
        distributed.world_size,
        base_time_ns,
        bool(profile_memory),
    )


def _decode_device(entry: Raw) -> DeviceProperties | None:
    if properties := _decode_or(entry, DeviceProperties, None):
        return cast(DeviceProperties, properties)
    # a capacity of another form does not cost the device its name
    device = _decode_or(entry, _Device, None)
    return DeviceProperties(**structs.asdict(device)) if device else None


def _decode_or(raw: Raw, kind: Any, default: Any) -> Any:
    try:
        return json.decode(raw, type=kind)
    except (DecodeError, UnicodeDecodeError):
        return default
