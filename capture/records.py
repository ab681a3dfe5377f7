"""The content of run.json as types. `capture/README.md` describes the file. Imports no torch."""

from typing import Any

import msgspec

from ridgeline.capture.steps import RecordedStep

FORMAT = 1
"""The version of run.json's layout."""


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """Device and versions. `driver` and `cuda` are None on other than NVIDIA devices, `transformers` without it."""

    device: str
    device_kind: str
    driver: str | None
    torch: str
    cuda: str | None
    transformers: str | None
    python: str
    ridgeline: str


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One rank of a job of `world_size` processes.

    `id` is 16 hexadecimal digits, equal in all ranks of a job; it is a hash and reveals no host. `hosts` is None where
    the launcher does not say. `note` says what a comparison of ranks must know.
    """

    id: str
    rank: int
    world_size: int
    local_rank: int | None = None
    hosts: int | None = None
    note: str | None = None


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """One measured duration in nanoseconds.

    `metric` is one of:
    - `end_to_end`: host wall time of a whole generation, or of all timed steps where a program has no generations
    - `ttft`: time from the start to the end of the step that commits the first token
    - `first_block`: time from the start to the end of a diffusion mode's first block
    - `step`: time of a step on the device, with idle time: from the end of the last step in `capture`, from the start
      of the step in a recorded program
    - `profiled_step`: the same under the profiler; its difference from `step` is the profiler's overhead

    `started_ns` is the start of the repeat since the epoch, which locates it in the telemetry.
    """

    metric: str
    phase: str | None
    kind: str | None
    step: int | None
    repeat: int
    value_ns: int
    started_ns: int


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes at the peak, by part: `peak_bytes` = weights + cache + other, and `other_bytes` = logits + activations.

    `logits_bytes` is the computed size of a step's largest logits. `activations_bytes` is the rest: activations, the
    sampler's copies, workspaces, pools of CUDA graphs. `source` is `allocator` on CUDA, else `resident_set` (RSS),
    which includes the interpreter and the libraries.
    """

    peak_bytes: int
    weights_bytes: int
    cache_bytes: int
    other_bytes: int
    logits_bytes: int = 0
    activations_bytes: int = 0
    source: str


class Energy(msgspec.Struct, frozen=True, kw_only=True):
    """Energy of the timed repeats, by the device's own counter.

    `joules_per_token` is None where the window is too short for the counter; `note` then says so. `throttled` lists
    NVML's reasons for reduced clocks in that window.
    """

    window_s: float
    joules: float | None = None
    joules_per_token: float | None = None
    throttled: list[str] = []
    note: str | None = None


class Scaled(msgspec.Struct, frozen=True, kw_only=True):
    """Step times of the whole model of `of` layers, extrapolated from `layers` and from `other_depth` layers.

    `step_ns` maps the kind of a step to nanoseconds on the line through both depths; it is never a measurement.
    `message` says why the extrapolation failed. The point's own measurements do not depend on it.
    """

    layers: int
    of: int
    other_depth: int
    step_ns: dict[str, int] = {}
    message: str | None = None


class GraphCost(msgspec.Struct, frozen=True, kw_only=True):
    """Median durations of replays of a CUDA graph of `nodes` equal kernels, without and with the profiler.

    Each kernel adds one to `kernel_bytes` bytes of float32. `unprofiled_ns` is the time between the ends of two
    replays, by CUDA events. In the trace, `profiled_span_ns` is the time from the start of the first kernel to the end
    of the last, and `profiled_busy_ns` the sum of the kernels' durations. `node_ns` is the profiler's cost per node.
    """

    kernel_bytes: int
    nodes: int
    unprofiled_ns: int
    profiled_span_ns: int
    profiled_busy_ns: int
    node_ns: float


class ProfilerCost(msgspec.Struct, frozen=True, kw_only=True):
    """Nanoseconds that the profiler adds to each node of a replayed CUDA graph, and the measured graphs.

    `graph_node_ns` is None where the measurement failed; `message` then says why.
    """

    graph_node_ns: float | None = None
    method: str | None = None
    graphs: list[GraphCost] = []
    message: str | None = None


class Record(msgspec.Struct, kw_only=True):
    """The content of run.json: a point or a recorded program, its environment and its measurements.

    `job` is None for a process alone. `window` lists the profiled steps in the order of the trace, `attention` the
    attention backends that the trace names. `prepare_s` is the time to compile and to capture graphs. `profiler` is the
    profiler's cost per graph node, None where nothing is replayed. `counters` says which hardware counters were read,
    how, and at what cost, or why there are none. `allocations` is true where they were recorded. `message` says why
    `outcome` is `oom` or `error`.
    """

    format: int = FORMAT
    name: str
    experiment: str
    config: dict[str, Any]
    model: dict[str, Any]
    environment: Environment
    job: Job | None = None
    timings: list[Timing] = []
    tokens: dict[str, Any] = {}
    window: list[RecordedStep] = []
    memory: Memory | None = None
    energy: Energy | None = None
    prepare_s: float | None = None
    attention: list[str] = []
    scaled: Scaled | None = None
    profiler: ProfilerCost | None = None
    counters: dict[str, Any] | None = None
    allocations: bool = False
    outcome: str = "ok"
    message: str | None = None
