"""Ceilings of a CUDA device: DRAM, L2, matrix products of every precision, and the shortest kernel."""

import statistics
from collections.abc import Callable
from contextlib import suppress

import torch

from ridgeline.capture.ceilings.ceiling import Ceiling, bandwidth, product
from ridgeline.capture.measuring.clocks import event

REPEATS = 20
_LARGE_BYTES = 2 * 2**30
_MARGIN = 1.25
"""The factor by which free memory must exceed the memory that a measurement needs."""

_L2_PASSES = 128
_L2_SOURCE = r"""
extern "C" __global__ void read_repeatedly(const float4* data, float* sink, int count, int passes) {
    float sum = 0.0f;
    int stride = gridDim.x * blockDim.x;
    for (int pass = 0; pass < passes; ++pass) {
        // Each pass starts elsewhere, so that a block never finds its next read in its first-level cache.
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
    """Measure all ceilings of a CUDA device, in a few seconds. Precisions that the device lacks are left out."""
    rows: list[Ceiling] = []
    measures = {"DRAM": _dram, "L2": _l2, "matrix products": _products, "latency": _latency}
    for name, measured in measures.items():
        progress(name)
        rows += measured(device)
        torch.cuda.empty_cache()  # the next measurement sizes its data by free memory
    return rows


def _dram(device: torch.device) -> list[Ceiling]:
    """Read and copy bandwidth of a set far larger than the L2; the set is smaller where little memory is free."""
    free, _ = torch.cuda.mem_get_info(device)
    size = min(_LARGE_BYTES, int(free / (2 * _MARGIN)) // 4 * 4)
    data = torch.ones(size // 4, device=device)
    target = torch.empty_like(data)
    text = f"{size / 2**30:.3g} GiB"
    copied = f"copy of {text}, read plus written, median of {REPEATS}"
    return [
        bandwidth("dram", size, median_s(data.sum), f"sum over {text} of float32, median of {REPEATS}"),
        bandwidth("dram", 2 * size, median_s(lambda: target.copy_(data)), copied),
    ]


def _l2(device: torch.device) -> list[Ceiling]:
    """Read bandwidth of the L2 by the fastest of two methods; no row where both fail."""
    properties = torch.cuda.get_device_properties(device)
    # A large L2 has two halves, each of which caches the reads of its side. A quarter of the L2 fits in one half.
    size = properties.L2_cache_size // 4 // 4096 * 4096
    if not size:
        return []
    data = torch.ones(size // 4, device=device)
    seconds: dict[str, float] = {}

    # All passes run inside one kernel: a pass takes a few microseconds, about as long as a launch.
    with suppress(Exception):  # _compile_kernel is a private interface of torch
        kernel = torch.cuda._compile_kernel(_L2_SOURCE, "read_repeatedly")
        arguments = [data, torch.zeros(1, device=device), data.numel() // 4, _L2_PASSES]
        grids = [(properties.multi_processor_count * blocks, 1, 1) for blocks in (2, 4)]
        seconds["one kernel that bypasses the L1"] = min(
            median_s(lambda grid=grid: kernel(grid, (512, 1, 1), arguments))  # type: ignore[misc]
            for grid in grids
        )

    # As many matrix-vector products of one matrix, in one batched call.
    with suppress(Exception):  # cuBLAS may refuse the layout of the expanded matrix
        width = 1024
        matrix = data[: data.numel() // width * width].view(1, -1, width).expand(_L2_PASSES, -1, -1)
        vectors = torch.ones(_L2_PASSES, width, 1, device=device)
        seconds["batched matrix-vector products"] = median_s(lambda: matrix @ vectors)

    if not seconds:
        return []
    best = min(seconds, key=seconds.__getitem__)
    method = f"{size / 2**20:.3g} MiB read {_L2_PASSES} times by {best}, median of {REPEATS}"
    return [bandwidth("l2", _L2_PASSES * size, seconds[best], method)]


def _products(device: torch.device) -> list[Ceiling]:
    """Rates of square matrix products, one row for each precision that the device and this torch have."""
    rows = []
    major, minor = torch.cuda.get_device_capability(device)
    # Devices of a data centre (8.0, 9.0, 10.0) multiply float64 on tensor units, others on vector units.
    vector = {"fp32"} if major >= 8 and minor == 0 else {"fp32", "fp64"}
    for precision in ("bf16", "fp16", "tf32", "fp8", "int8", "fp32", "fp64"):
        size = 4096 if precision == "fp64" else 8192
        # A missing precision and a lack of memory raise different errors; the other rows are still useful.
        with suppress(RuntimeError, ValueError, TypeError, AttributeError):
            seconds = _product_s(precision, size, device)
            unit = "vector" if precision in vector else "tensor"
            note = " without TF32" if precision == "fp32" else ""
            method = f"{size}^3 matrix product{note}, median of {REPEATS}"
            rows.append(product(unit, precision, size, seconds, method))
    return rows


def _product_s(precision: str, size: int, device: torch.device) -> float:
    """Seconds of one matrix product of `size` cubed in `precision`. Raises what torch raises where it has none."""
    left, right = torch.randn(2, size, size, device=device)
    if precision in ("tf32", "fp32"):
        settings = torch.backends.cuda.matmul
        before = settings.fp32_precision
        settings.fp32_precision = "tf32" if precision == "tf32" else "ieee"
        try:
            return median_s(lambda: left @ right)
        finally:
            settings.fp32_precision = before
    if precision == "int8":
        # The 8-bit kernels want the second matrix column by column, hence the transpositions.
        left, right = (matrix.clamp(-4, 4).to(torch.int8) for matrix in (left, right.t()))
        return median_s(lambda: torch._int_mm(left, right))
    if precision == "fp8":
        left, right = (matrix.to(torch.float8_e4m3fn) for matrix in (left, right))
        one = torch.ones((), device=device)
        return median_s(lambda: torch._scaled_mm(left, right.t(), scale_a=one, scale_b=one, out_dtype=torch.bfloat16))
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp64": torch.float64}[precision]
    left, right = left.to(dtype), right.to(dtype)
    return median_s(lambda: left @ right)


def _latency(device: torch.device) -> list[Ceiling]:
    """The duration of the shortest kernel in a trace of additions to one element."""
    from torch.profiler import ProfilerActivity, profile

    data = torch.ones(1, device=device)
    with profile(activities=[ProfilerActivity.CUDA], acc_events=True) as profiler:
        for _ in range(10 * REPEATS):
            data.add_(1.0)
        torch.cuda.synchronize(device)
    entries = [entry for entry in profiler.events() or [] if entry.device_type.name == "CUDA"]
    durations = [us * 1e-6 for entry in entries if (us := entry.time_range.elapsed_us()) > 0]
    if not durations:
        return []
    method = f"addition to one element, shortest of {len(durations)} kernels"
    return [Ceiling(resource="latency", value=min(durations), unit_of_value="s", method=method)]


def median_s(work: Callable[[], object]) -> float:
    """The median duration of REPEATS runs of `work` after three warm-up runs, by CUDA events, in seconds."""
    for _ in range(3):
        work()
    # Events around each run, read after all of them, so that the host never delays the device.
    pairs = [(event(), event()) for _ in range(REPEATS)]
    for start, end in pairs:
        start.record()
        work()
        end.record()
    torch.cuda.synchronize()
    return statistics.median(float(start.elapsed_time(end)) for start, end in pairs) / 1e3
