"""What run.json holds, as types, without importing torch."""

from typing import Any

import msgspec

from ridgeline.capture.steps import Step

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
    the first token), `first_block` (to the end of a diffusion mode's first block), `step` (between the ends of two
    steps on the device, its idle time included) or `profiled_step` (the same while the profiler watched; with the step
    unprofiled it tells the profiler's overhead). `started_ns` is the repeat's start in nanoseconds since the epoch, to
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
    """Bytes at the peak, by part.

    `logits` are a step's largest logits, computed; `activations` what weights, cache and logits do not explain:
    activations, the sampler's copies, workspaces, the pools of CUDA graphs. `other` is the sum of these two. `source`
    is `allocator`, or `resident_set`, which holds the interpreter and the libraries as well.
    """

    peak_bytes: int
    weights_bytes: int
    cache_bytes: int
    other_bytes: int
    logits_bytes: int = 0
    activations_bytes: int = 0
    source: str


class Energy(msgspec.Struct, frozen=True, kw_only=True):
    """What the timed repeats took, by the device's own counter.

    `joules_per_token` is None where the window is too short for the counter, which `note` then says. `throttled` names
    what slowed the clocks meanwhile, as NVML's reasons.
    """

    window_s: float
    joules: float | None = None
    joules_per_token: float | None = None
    throttled: list[str] = []
    note: str | None = None


class Scaled(msgspec.Struct, frozen=True, kw_only=True):
    """Step times of the whole model, from a subset of its layers at two depths: a line through both.

    `step_ns` by kind is an extrapolation, never a measurement. `message` says why there is none; the point, measured
    before, is as it was.
    """

    layers: int
    of: int
    other_depth: int
    step_ns: dict[str, int] = {}
    message: str | None = None


class GraphCost(msgspec.Struct, frozen=True, kw_only=True):
    """Replays of a CUDA graph of `nodes` equal kernels, without the profiler and with it, in medians.

    A kernel adds to `kernel_bytes`. `unprofiled_ns` is the time of a replay by events on the device, what lies between
    two replays included; `profiled_span_ns` goes from the start of its first kernel in the trace to the end of the
    last, and `profiled_busy_ns` is the sum of their durations there. `node_ns` is what the profiler adds to each.
    """

    kernel_bytes: int
    nodes: int
    unprofiled_ns: int
    profiled_span_ns: int
    profiled_busy_ns: int
    node_ns: float


class ProfilerCost(msgspec.Struct, frozen=True, kw_only=True):
    """What the profiler adds to each node of a replayed CUDA graph, in nanoseconds, and the graphs that say so.

    `graph_node_ns` is None where that could not be measured, which `message` then explains.
    """

    graph_node_ns: float | None = None
    method: str | None = None
    graphs: list[GraphCost] = []
    message: str | None = None


class Record(msgspec.Struct, kw_only=True):
    """What run.json holds: a point, what it ran on, and what was measured.

    `window` are the profiled steps, in the order of the trace. `attention` are the backends that ran in it, as the
    trace names them. `prepare_s` is the time to compile and to capture graphs. `profiler` is what tracing costs a
    replay, None where nothing is replayed. `counters` says which hardware counters were read, how, and what they cost,
    or why there are none. `message` says why an outcome is not `ok`.
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
    energy: Energy | None = None
    prepare_s: float | None = None
    attention: list[str] = []
    scaled: Scaled | None = None
    profiler: ProfilerCost | None = None
    counters: dict[str, Any] | None = None
    outcome: str = "ok"
    message: str | None = None
