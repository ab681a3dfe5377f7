"""What to count: sets of metrics as data, and how many passes over a kernel a chip needs for them."""

from collections.abc import Callable, Sequence

import msgspec

from ridgeline.capture.counters.cupti.library import CuptiError, Library
from ridgeline.capture.counters.cupti.range_profiler import Host

_TENSOR = "sm__ops_path_tensor"

METRIC_SETS: dict[str, tuple[str, ...]] = {
    "memory": ("dram__bytes_read.sum", "dram__bytes_write.sum", "lts__t_bytes.sum"),
    "tensor": (f"{_TENSOR}_src_bf16_dst_fp32.sum", f"{_TENSOR}_src_fp8.sum", "l1tex__t_bytes.sum"),
    "tensor_tf32": (f"{_TENSOR}_src_tf32_dst_fp32.sum",),
    # The sums over all instructions (src_fp16, src_int8) need two passes each, so these name the instructions.
    # Not among them: fp16 products with fp16 accumulation, and sparse int8.
    "tensor_fp16": (f"{_TENSOR}_op_hgmma_src_fp16.sum", f"{_TENSOR}_op_hmma_src_fp16_dst_fp32.sum"),
    "tensor_int8": (f"{_TENSOR}_op_igmma_src_int8.sum", f"{_TENSOR}_op_imma_src_int8_sparsity_off.sum"),
    "sass": tuple(
        f"smsp__sass_thread_inst_executed_op_{precision}{operation}_pred_on.sum"
        for precision in "fhd"
        for operation in ("add", "mul", "fma")
    ),
}
"""What a window may count. Each set fits one pass on GH100; on another chip a set becomes as many windows as it needs.

A kernel costs about 40 µs more under `memory`, 0.8 ms under the tensor sets and 0.3 ms under `sass`. Bytes are bytes,
tensor operations count a multiply-add as 2, `sass` counts instructions of threads, so an fma once.
"""


ALONE = frozenset({"sass"})
"""Sets that count by patching the kernels' code, which does nothing while Kineto traces: all values are 0 then."""


class Plan(msgspec.Struct, frozen=True):
    """A window to record: metrics that fit one pass. A window `alone` is recorded without Kineto."""

    name: str
    host: Host
    alone: bool = False


def plan(cupti: Library, chip: str, windows: Sequence[str], problems: list[str]) -> list[Plan]:
    """The windows as configured hosts, each of one pass; what the chip does not have is added to `problems`."""
    plans = []
    for name in windows:
        metrics = [metric for metric in METRIC_SETS[name] if _fits(cupti, chip, name, metric, problems)]
        groups = packed(metrics, lambda group: passes(cupti, chip, group) == 1)
        names = [name] if len(groups) == 1 else [f"{name}_{number}" for number in range(1, len(groups) + 1)]
        hosts = (Host(cupti, chip, group) for group in groups)
        plans += [Plan(own, host, name in ALONE) for own, host in zip(names, hosts, strict=True)]
    return plans


def packed(metrics: Sequence[str], fits: Callable[[Sequence[str]], bool]) -> list[list[str]]:
    """The metrics in groups that fit, each in the first group that has room."""
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
    """How often a kernel must run to count the metrics together. Raises CuptiError for an unknown chip or metric."""
    with Host(cupti, chip, metrics) as host:
        return host.passes


def _fits(cupti: Library, chip: str, window: str, metric: str, problems: list[str]) -> bool:
    """Whether one pass can count a metric; if not, why is added to `problems`."""
    try:
        needed = passes(cupti, chip, [metric])
    except CuptiError as error:
        problems.append(f"{window}: {error}")
        return False
    if needed != 1:
        problems.append(f"{window}: {metric} needs {needed} passes on {chip}; expected one")
    return needed == 1
