"""Kernels that Inductor generated, by their arguments: every tensor is read or written once.

Inductor passes tensors that it updates in place first, then inputs, then outputs, then the sizes of the loop. The trace
does not say which tensor is which. A kernel must write something of its loop's size. There is no output, and the first
tensor is read and written, in two cases: the last tensor does not have that size (a bias, say); or the kernel fuses a
view and the last tensor has the flat form of the first one's shape (a product's result, which the next kernel reshapes
and overwrites). A tensor is read for at most as many elements as the loop has iterations, since a table of embeddings
is larger.

Inductor's own numbers come first where they are recorded: ``kernel_num_gb`` (``TORCHINDUCTOR_PROFILE=1``) and
``kernel_flop`` (``TORCHINDUCTOR_BENCHMARK_KERNEL=1``). It counts only products, so 0 FLOPs mean unknown. FLOPs of other
fused kernels are unknown, since a name lists each operator once; products of templates count 2·M·N·K.
"""

from __future__ import annotations

import math
from itertools import pairwise

from ridgeline.analyze.pricing.signature import Call, Tensor


def bytes_moved(call: Call) -> tuple[int, int] | None:
    """(read, written) of a generated kernel; None if no tensor is recorded."""
    tensors = call.tensors
    if giga := call.measures.get("kernel_num_gb"):
        return round(giga * 1e9), 0
    if not tensors:
        return None
    # Iterations of the loop; a template's last numbers are not its sizes.
    most = max(_loop_sizes(call), default=0) if not _is_template(call) else 0
    sizes = [min(t.distinct_bytes, most * t.item_bytes) if most else t.distinct_bytes for t in tensors]
    if _in_place(call, tensors):
        return sum(sizes), sizes[0]
    return sum(sizes[:-1]), sizes[-1]


def flops(call: Call) -> int | None:
    """Inductor's own count, or that of a product by its template's operands."""
    if counted := call.measures.get("kernel_flop"):
        return round(counted)
    if not (_is_template(call) and _PRODUCTS.intersection(call.operator.split("_"))):
        return None
    # two matrices with a common inner size and, last, a result of their outer sizes
    *operands, result = call.tensors or [Tensor((), (), "", 0)]
    for left, right in pairwise(operands):
        multiply = len(left.shape) == len(right.shape) >= 2 and left.shape[-1] == right.shape[-2]
        if multiply and result.elements == math.prod(left.shape[:-1]) * right.shape[-1]:
            return 2 * result.elements * left.shape[-1]
    return None


def certain(call: Call) -> bool:
    """Whether the arguments determine the bytes and, for a template's product or attention, the FLOPs."""
    return not _is_template(call) or flops(call) is not None


_PRODUCTS = frozenset({"mm", "addmm", "bmm", "baddbmm"})
_MADE_FROM_NOTHING = frozenset({"zeros", "ones", "full", "fill", "arange", "zero", "empty", "rand", "randn", "iota"})


def _is_template(call: Call) -> bool:
    return call.operator.startswith("triton_tem_")


def _in_place(call: Call, tensors: list[Tensor]) -> bool:
    """Whether the first tensor is read and written and there is no output (see the module's docstring)."""
    if _is_template(call):
        return False
    if len(tensors) == 1:
        return _MADE_FROM_NOTHING.isdisjoint(call.operator.split("_"))
    first, last = tensors[0], tensors[-1]
    # An output has the size of the loop.
    sizes = _loop_sizes(call)
    if sizes and last.elements not in sizes:
        return first.elements in sizes
    # The flat form of a shape merges neighbouring dimensions: all its partial products are the shape's as well.
    partial = {math.prod(first.shape[i:]) for i in range(len(first.shape) + 1)}
    merges = all(math.prod(last.shape[i:]) in partial for i in range(len(last.shape) + 1))
    flattened = len(last.shape) < len(first.shape) and merges and last.elements == first.elements
    return flattened and "view" in call.operator.split("_")


def _loop_sizes(call: Call) -> set[int]:
    """Element counts that the loop may write: the last two numbers passed, and their product."""
    numbers = [int(v) for v in call.inputs if isinstance(v, str) and v.isdecimal()][-2:]
    return {*numbers, math.prod(numbers)} if numbers else set()
