"""Ceilings of a CUDA device: DRAM, L2, matrix products of every precision it has, and its shortest kernel."""

import statistics
from collections.abc import Callable, Iterator
from contextlib import suppress

import torch
from torch import Tensor

from ridgeline.capture.ceilings.measure import Ceiling
from ridgeline.capture.measuring.clocks import event

REPEATS = 20
_LARGE_BYTES = 2 * 2**30
_MARGIN = 1.25
"""Free memory kept beside what a measurement needs, as a factor."""

_L2_PASSES = 128
_L2_SOURCE = r"""
extern "C" __global__ void read_repeatedly(const float4* data, float* sink, int count, int passes) {
    float sum = 0.0f;
    int stride = gridDim.x * blockDim.x;
    for (int pass = 0; pass < passes; ++pass) {
        // Each pass starts elsewhere, so that a block's first-level cache never holds what it reads next.
        int first = (blockIdx.x + pass * 17) % gridDim.x * blockDim.x + threadIdx.x;
        #pragma unroll 4
        for (int index = first; index < count; index += stride) {
            float4 value;
            asm("ld.global.cg.v4.f32 {%0, %1, %2, %3}, [%4];"
                : "=f"(value.x), "=f"(value.y), "=f"(value.z), "=f"(value.w) : "l"(data + index));
            sum += value.x + value.y + value.z + value.w;
        }
    }
    if (sum == -1.0f) sink[0] = sum;  // Never true; keeps the loads alive.
}
"""


def measure(device: torch.device, progress: Callable[[str], None]) -> list[Ceiling]:
    """All ceilings, in a few seconds. A precision the device lacks is left out."""
    rows: list[Ceiling] = []
    for what, measured in (("DRAM", _dram), ("L2", _l2), ("matrix products", _products), ("latency", _latency)):
        progress(what)
        rows += measured(device)
        torch.cuda.empty_cache()
    return rows


def _dram(device: torch.device) -> Iterator[Ceiling]:
    """Reading and copying a set far beyond the L2, smaller where memory is short."""
    free, _ = torch.cuda.mem_get_info(device)
    size = min(_LARGE_BYTES, int(free / (2 * _MARGIN)) // 4 * 4)
    data = torch.ones(size // 4, device=device)
    target = torch.empty_like(data)
    shown = f"{size / 2**30:.3g} GiB"
    yield _bandwidth("dram", size, _median_s(data.sum), f"sum over {shown} of float32, median of {REPEATS}")
    copied_s = _median_s(lambda: target.copy_(data))
    yield _bandwidth("dram", 2 * size, copied_s, f"copy of {shown}, read plus written, median of {REPEATS}")


def _l2(device: torch.device) -> Iterator[Ceiling]:
    """Reading, many times within one kernel, a set that fits one half of the L2 with room to spare.

    The halves of a large L2 each keep what their side reads, so a set of a quarter of the whole stays where it is read.
    One kernel makes all passes: a pass takes a few microseconds, about as long as a launch.
    """
    properties = torch.cuda.get_device_properties(device)
    size = properties.L2_cache_size // 4 // 4096 * 4096
    if size:
        data = torch.ones(size // 4, device=device)
        readers = {"one kernel that bypasses the L1": _l2_kernel_s, "batched matrix-vector products": _l2_batched_s}
        measured = []
        for how, reader in readers.items():
            with suppress(Exception):  # A private compiler interface, and a layout cuBLAS may refuse.
                measured.append((reader(data, properties.multi_processor_count), how))
        if measured:
            seconds, how = min(measured)
            method = f"{size / 2**20:.3g} MiB read {_L2_PASSES} times by {how}, median of {REPEATS}"
            yield _bandwidth("l2", _L2_PASSES * size, seconds, method)


def _l2_kernel_s(data: Tensor, processors: int) -> float:
    """Seconds for all passes of a kernel of our own; the best of a few grids."""
    kernel = torch.cuda._compile_kernel(_L2_SOURCE, "read_repeatedly")
    sink = torch.zeros(1, device=data.device)
    arguments = [data, sink, data.numel() // 4, _L2_PASSES]

    def launch(blocks: int) -> Callable[[], object]:
        return lambda: kernel((blocks, 1, 1), (512, 1, 1), arguments)

    return min(_median_s(launch(processors * each)) for each in (2, 4))


def _l2_batched_s(data: Tensor, processors: int) -> float:
    """Seconds for as many matrix-vector products, all of the same matrix, in one batched call."""
    del processors
    width = 1024
    matrix = data[: data.numel() // width * width].view(1, -1, width).expand(_L2_PASSES, -1, -1)
    vectors = torch.ones(_L2_PASSES, width, 1, device=data.device)
    return _median_s(lambda: matrix @ vectors)


def _products(device: torch.device) -> Iterator[Ceiling]:
    """Matrix products, from the tensor path's precisions to float32 without it."""
    for precision in ("bf16", "fp16", "tf32", "fp8", "int8", "fp32", "fp64"):
        size = 4096 if precision == "fp64" else 8192
        # The device or this torch may lack a precision; memory may be short. What remains is still worth having.
        with suppress(RuntimeError, ValueError, TypeError, AttributeError):
            seconds = _product_s(precision, size, device)
            note = " without TF32" if precision == "fp32" else ""
            yield Ceiling(
                resource="compute",
                unit=_unit(precision, device),
                precision=precision,
                value=round(2 * size**3 / seconds),
                unit_of_value="OP/s" if precision == "int8" else "FLOP/s",
                method=f"{size}^3 matrix product{note}, median of {REPEATS}",
            )


def _unit(precision: str, device: torch.device) -> str:
    """What computes a precision: float32 the vector path, float64 the tensor path where it has one."""
    capability = torch.cuda.get_device_capability(device)
    datacentre = capability[0] >= 8 and capability[1] == 0
    return "vector" if precision == "fp32" or (precision == "fp64" and not datacentre) else "tensor"


def _product_s(precision: str, size: int, device: torch.device) -> float:
    """Seconds for one matrix product of `size` cubed."""
    if precision in ("tf32", "fp32"):
        return _float32_product_s(size, device, tensor_path=precision == "tf32")
    left, right = torch.randn(2, size, size, device=device)
    if precision == "int8":
        left, right = (matrix.clamp(-4, 4).to(torch.int8) for matrix in (left, right.t()))
        return _median_s(lambda: torch._int_mm(left, right))
    if precision == "fp8":
        left, right = (matrix.to(torch.float8_e4m3fn) for matrix in (left, right))
        one = torch.ones((), device=device)
        return _median_s(lambda: torch._scaled_mm(left, right.t(), scale_a=one, scale_b=one, out_dtype=torch.bfloat16))
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp64": torch.float64}[precision]
    left, right = left.to(dtype), right.to(dtype)
    return _median_s(lambda: left @ right)


def _float32_product_s(size: int, device: torch.device, *, tensor_path: bool) -> float:
    """Seconds for a float32 product, rounded to TF32 or not; torch's own setting is put back."""
    settings = torch.backends.cuda.matmul
    before = settings.fp32_precision
    settings.fp32_precision = "tf32" if tensor_path else "ieee"
    try:
        left, right = torch.randn(2, size, size, device=device)
        return _median_s(lambda: left @ right)
    finally:
        settings.fp32_precision = before


def _latency(device: torch.device) -> Iterator[Ceiling]:
    """The shortest kernel, as the profiler sees it: an addition to one element."""
    from torch.profiler import ProfilerActivity, profile

    data = torch.ones(1, device=device)
    with profile(activities=[ProfilerActivity.CUDA], acc_events=True) as profiler:
        for _ in range(10 * REPEATS):
            data.add_(1.0)
        torch.cuda.synchronize(device)
    seen = [entry for entry in profiler.events() or [] if entry.device_type.name == "CUDA"]
    durations = [us * 1e-6 for entry in seen if (us := entry.time_range.elapsed_us()) > 0]
    if durations:
        yield Ceiling(
            resource="latency",
            value=min(durations),
            unit_of_value="s",
            method=f"addition to one element, shortest of {len(durations)} kernels",
        )


def _bandwidth(level: str, size: int, seconds: float, method: str) -> Ceiling:
    """A bandwidth from bytes and seconds."""
    return Ceiling(
        resource="bandwidth", level=level, value=round(size / seconds), unit_of_value="byte/s", method=method
    )


def _median_s(work: Callable[[], object]) -> float:
    """The median of REPEATS runs, between events on the device, after a few that do not count."""
    for _ in range(3):
        work()
    pairs = [[event() for _ in range(2)] for _ in range(REPEATS)]
    for start, end in pairs:
        start.record()
        work()
        end.record()
    torch.cuda.synchronize()
    return statistics.median(float(start.elapsed_time(end)) for start, end in pairs) / 1e3
