"""Sets of metrics to count, and how many passes over a kernel a chip needs for them."""

from collections.abc import Callable, Sequence

import msgspec

from ridgeline.capture.counters.cupti.library import CuptiError, Library
from ridgeline.capture.counters.cupti.range_profiler import Host

_TENSOR = "sm__ops_path_tensor"

METRIC_SETS: dict[str, tuple[str, ...]] = {
    "memory": ("dram__bytes_read.sum", "dram__bytes_write.sum", "lts__t_bytes.sum"),
    "tensor": (f"{_TENSOR}_src_bf16_dst_fp32.sum", f"{_TENSOR}_src_fp8.sum", "l1tex__t_bytes.sum"),
    "tensor_tf32": (f"{_TENSOR}_src_tf32_dst_fp32.sum",),
    # The sums over all instructions (src_fp16, src_int8) need two passes each, so these sets list single instructions.
    # They miss fp16 products with fp16 accumulation, and sparse int8.
    "tensor_fp16": (f"{_TENSOR}_op_hgmma_src_fp16.sum", f"{_TENSOR}_op_hmma_src_fp16_dst_fp32.sum"),
    "tensor_int8": (f"{_TENSOR}_op_igmma_src_int8.sum", f"{_TENSOR}_op_imma_src_int8_sparsity_off.sum"),
    "sass": tuple(
        f"smsp__sass_thread_inst_executed_op_{precision}{operation}_pred_on.sum"
        for precision in "fhd"
        for operation in ("add", "mul", "fma")
    ),
}
"""The metrics that a window may count. A set fits one pass on GH100; on other chips it may be split into windows.

On an H200 a kernel takes about 40 µs longer under `memory`, 0.8 ms under the tensor sets and 0.3 ms under `sass`.
Tensor operations count a multiply-add as 2. `sass` counts thread instructions, so an fma counts as 1.
"""


ALONE = frozenset({"sass"})
"""Sets that count by patching the kernels' code. While Kineto traces, that has no effect and all values are 0."""


class Plan(msgspec.Struct, frozen=True):
    """A window to record, whose metrics fit one pass. With `alone` it is recorded without Kineto."""

    name: str
    host: Host
    alone: bool = False


def plan(cupti: Library, chip: str, windows: Sequence[str], problems: list[str]) -> list[Plan]:
    """Return the windows as configured hosts of one pass each. Adds metrics that `chip` lacks to `problems`."""
    plans = []
    for name in windows:
        metrics = []
        for metric in METRIC_SETS[name]:
            # A metric that alone needs several passes would need the kernel to run again: it is left out.
            try:
                needed = passes(cupti, chip, [metric])
            except CuptiError as error:
                problems.append(f"{name}: {error}")
                continue
            if needed == 1:
                metrics.append(metric)
            else:
                problems.append(f"{name}: {metric} needs {needed} passes on {chip}; expected one")
        groups = packed(metrics, lambda group: passes(cupti, chip, group) == 1)
        names = [name] if len(groups) == 1 else [f"{name}_{number}" for number in range(1, len(groups) + 1)]
        plans += [Plan(own, Host(cupti, chip, group), name in ALONE) for own, group in zip(names, groups, strict=True)]
    return plans


def packed(metrics: Sequence[str], fits: Callable[[Sequence[str]], bool]) -> list[list[str]]:
    """Return the metrics in groups that fit, each metric in the first group that has room."""
    groups: list[list[str]] = []
    for metric in metrics:
        for group in groups:
            if fits([*group, metric]):
                group.append(metric)
                break
        else:
            groups.append([metric])
    return groups


def passes(cupti: Library, chip: str, metrics: Sequence[str]) -> int:
    """Return how often a kernel must run to count `metrics`. Raises CuptiError for an unknown chip or metric."""
    with Host(cupti, chip, metrics) as host:
        return host.passes
