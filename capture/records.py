"""What run.json holds, as types, without importing torch."""

from typing import Any

import msgspec

from capture.steps import Step

FORMAT = 1
"""The version of run.json's layout."""


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """Device and versions. `driver` and `cuda` are None without an NVIDIA device."""

    device: str
    device_kind: str
    driver: str | None
    torch: str
    cuda: str | None
    transformers: str
    python: str
    ridgeline: str


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """One measured duration.

    `metric` is `end_to_end` (the host's wall time around a generation), `ttft` (to the end of the step that commits
    the first token), `first_block` (to the end of a diffusion mode's first block) or `step` (between the ends of two
    steps on the device, its idle time included). `started_ns` is the repeat's start in nanoseconds since the epoch, to
    find it in the telemetry.
    """

    metric: str
    phase: str | None
    kind: str | None
    step: int | None
    repeat: int
    value_ns: int
    started_ns: int


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes at the peak. `other` is what neither weights nor cache explain: activations, logits, workspaces.

    `source` is `allocator`, or `resident_set`, which holds the interpreter and the libraries as well.
    """

    peak_bytes: int
    weights_bytes: int
    cache_bytes: int
    other_bytes: int
    source: str


class Record(msgspec.Struct, kw_only=True):
    """What run.json holds: a point, what it ran on, and what was measured.

    `window` are the profiled steps, in the order of the trace. `message` says why an outcome is not `ok`.
    """

    format: int = FORMAT
    name: str
    experiment: str
    config: dict[str, Any]
    model: dict[str, Any]
    environment: Environment
    timings: list[Timing] = []
    tokens: dict[str, Any] = {}
    window: list[Step] = []
    memory: Memory | None = None
    outcome: str = "ok"
    message: str | None = None
