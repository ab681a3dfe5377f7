"""The parts of a Kineto event that Ridgeline reads, as typed structs. All else in a trace is skipped, not copied."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from msgspec import Raw, Struct, field

Identifier = int | str | float | None
ABSENT = -1
"""Stands for an identifier that is not recorded."""


class Event(Struct, gc=False):
    """One entry of ``traceEvents``; ``ts`` and ``dur`` are microseconds with at most three decimals."""

    ph: str = ""
    cat: str | None = None
    name: str | int | float | None = None
    pid: Identifier = None
    tid: Identifier = None
    ts: int | float = 0
    dur: int | float = 0
    args: Raw = Raw(b"{}")


class ExactEvent(Struct, gc=False):
    """The same for time stamps too large for a double to hold to the nanosecond."""

    ph: str = ""
    cat: str | None = None
    name: str | int | float | None = None
    pid: Identifier = None
    tid: Identifier = None
    ts: Decimal = Decimal(0)
    dur: Decimal = Decimal(0)
    args: Raw = Raw(b"{}")


class OperatorArgs(Struct, gc=False):
    external_id: int | None = field(name="External id", default=ABSENT)
    dims: Raw = field(name="Input Dims", default=Raw())
    types: Raw = field(name="Input type", default=Raw())
    strides: Raw = field(name="Input Strides", default=Raw())
    concrete: Raw = field(name="Concrete Inputs", default=Raw())


class LaunchArgs(Struct, gc=False):
    external_id: int | None = field(name="External id", default=ABSENT)
    correlation: int | None = ABSENT


class DeviceArgs(Struct, gc=False):
    external_id: int | None = field(name="External id", default=ABSENT)
    correlation: int | None = ABSENT
    device: int | None = ABSENT
    stream: int | None = ABSENT
    bytes: int | None = ABSENT


class DeviceProperties(Struct):
    id: int = 0
    name: str = ""
    total_memory: int | None = field(name="totalGlobalMem", default=None)
    compute_major: int | None = field(name="computeMajor", default=None)
    compute_minor: int | None = field(name="computeMinor", default=None)
    multiprocessors: int | None = field(name="numSms", default=None)


class Distributed(Struct):
    rank: int = 0


class Header(Struct):
    """The header keys Ridgeline reads; host names, user names and environments that writers add stay behind."""

    base_time_ns: int = field(name="baseTimeNanoseconds", default=0)
    devices: list[DeviceProperties] = field(name="deviceProperties", default_factory=list)
    distributed: Distributed | None = field(name="distributedInfo", default=None)
    cuda_runtime_version: int | None = None
    cuda_driver_version: int | None = None
    events: Any = field(name="traceEvents", default=None)
