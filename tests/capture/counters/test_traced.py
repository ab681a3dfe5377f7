"""What a trace says about counting its steps: kernels, replays of graphs, and kernels that may wait for others."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ridgeline.capture.counters.cupti.join import JoinError
from ridgeline.capture.counters.traced import look

ATEN = "void at::native::vectorized_elementwise_kernel<4, at::native::FillFunctor<int>>(int)"
NCCL = "ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgsStorage<4096ul>)"
COPY = "Memcpy HtoD (Pinned -> Device)"


class Trace:
    """A trace with steps from 0 to 100 us and from 100 to 200 us; `launch` adds an activity and its launch."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = [
            {"ph": "X", "cat": "user_annotation", "name": name, "ts": start, "dur": 99.0, "args": {}}
            for name, start in (("a", 0.0), ("b", 100.0))
        ]

    def launch(self, name: str, at: float, start: float, end: float, stream: int = 7, **args: Any) -> None:
        number = len(self.events)
        cat = "gpu_memcpy" if name == COPY else "kernel"
        call = {"ph": "X", "cat": "cuda_runtime", "name": "cudaLaunchKernel", "ts": at, "dur": 1.0}
        self.events.append({**call, "args": {"correlation": number}})
        args = {"correlation": number, "stream": stream, "device": 0, **args}
        self.events.append({"ph": "X", "cat": cat, "name": name, "ts": start, "dur": end - start, "args": args})

    def look(self) -> Any:
        return look(json.dumps({"traceEvents": self.events}).encode(), ["a", "b"], 0)


@pytest.fixture
def trace() -> Trace:
    return Trace()


def test_the_largest_step_is_that_of_one_device(trace: Trace) -> None:
    trace.launch("spin", 1, 2, 3)
    trace.launch(COPY, 2, 3, 4, bytes=4)
    for _ in range(2):
        trace.launch("spin", 110, 120, 130)
        trace.launch("spin", 110, 120, 130, device=1)
    trace.launch("spin", 250, 260, 270)
    assert trace.look() == (2, None, None)


def test_replayed_steps_cannot_be_counted(trace: Trace) -> None:
    trace.launch("f", 1, 2, 3)
    launch = {"ph": "X", "cat": "cuda_runtime", "name": "cudaGraphLaunch", "dur": 1.0, "args": {"correlation": 99}}
    trace.events.append({**launch, "ts": 250.0})
    assert trace.look().impossible is None  # outside of the steps
    trace.events.append({**launch, "ts": 50.0})
    assert trace.look().impossible == (
        "the steps replay CUDA graphs (1 launches), whose kernels CUPTI does not count one by one: record an eager "
        "twin (twin=True), or run the program without graphs"
    )


def test_steps_without_kernels_of_the_device_cannot_be_counted(trace: Trace) -> None:
    trace.launch("f", 1, 2, 3, device=1)
    assert trace.look() == (0, "the steps launch no kernel on device 0", None)


@pytest.mark.parametrize("signal", ["set", ATEN])
def test_a_kernel_that_outlasts_the_start_of_a_later_one_may_wait_for_it(trace: Trace, signal: str) -> None:
    trace.launch("spin", 1, 2, 30, stream=13)
    trace.launch(signal, 10, 20, 21, stream=17)
    assert trace.look().risk == (
        f"'spin' on stream 13 runs together with {signal[:60]!r}, which was launched after it on stream 17, and may "
        "wait for it; counting runs kernels one at a time and would hang then: --counters cupti counts nevertheless, "
        "with a time limit"
    )


def test_a_kernel_that_starts_after_a_later_one_may_wait_for_it(trace: Trace) -> None:
    """It was queued behind other work. Counted, it runs first."""
    trace.launch("spin", 1, 50, 60, stream=13)
    trace.launch("set", 10, 20, 21, stream=17)
    assert trace.look().risk is not None


def test_the_later_kernel_may_be_launched_after_the_step(trace: Trace) -> None:
    trace.launch("spin", 110, 120, 300, stream=13)
    trace.launch("set", 250, 260, 270, stream=17)
    assert trace.look().risk is not None


def test_a_small_copy_may_set_a_flag(trace: Trace) -> None:
    trace.launch("spin", 1, 2, 30, stream=13)
    trace.launch(COPY, 10, 20, 21, stream=17, bytes=4)
    assert trace.look().risk is not None


@pytest.mark.parametrize(
    ("first", "second", "keywords"),
    [
        ("one", "other", {"stream": 13}),  # the same stream runs in order anyway
        (ATEN, "other", {}),
        ("void cutlass::Kernel2<cutlass_80_simt_sgemm_256x128_8x4_nn_align1>(x)", "other", {}),
        ("triton_poi_fused_add_0", "other", {}),
        (NCCL, "other", {}),  # it waits for other devices
        ("one", NCCL, {}),  # nobody on this device waits for it
        ("one", COPY, {"bytes": 1 << 20}),  # data, and no flag
        ("one", "other", {"device": 1}),
    ],
)
def test_ordinary_overlap_is_no_risk(trace: Trace, first: str, second: str, keywords: dict[str, Any]) -> None:
    trace.launch(first, 1, 2, 30, stream=13)
    trace.launch(second, 10, 20, 21, **{"stream": 17, **keywords})
    assert trace.look().risk is None


def test_what_waits_for_earlier_kernels_or_outside_of_the_steps_is_no_risk(trace: Trace) -> None:
    trace.launch(ATEN, 1, 2, 30, stream=17)
    trace.launch("spin", 10, 11, 31, stream=13)
    trace.launch("spin", 210, 211, 260, stream=13)
    trace.launch("set", 220, 230, 240, stream=17)
    assert trace.look().risk is None


def test_a_trace_without_the_steps_is_refused(trace: Trace) -> None:
    del trace.events[0]
    with pytest.raises(JoinError, match="0 annotations 'a'"):
        trace.look()
