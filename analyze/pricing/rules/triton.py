"""Kernels that Inductor generated, by their arguments: every tensor is read or written once.

Inductor passes tensors that it updates in place first, then inputs, then outputs, then the sizes of the loop. The trace
does not say which tensor is which, but a kernel writes something of its loop's size, with the shape of its operators'
result, and reads as many tensors as its operators need. So the last tensor is no output, and the first one is read and
written, in three cases:

- the last tensor does not have the loop's size (a bias, say);
- the kernel fuses a view, and the last tensor has the flat form of the first one's shape (a product's result, which the
  next kernel reshapes and overwrites);
- there are two tensors, and an operator of the kernel needs two (the backward pass of an activation).

Where all tensors are alike (as many elements of one type) and the operators could read one more than there would be
(``triton_poi_fused_add_0`` of two tensors: a sum of both in the first, or a constant added to the first), the price has
low confidence and the smaller number of bytes. So have kernels of lists of tensors. A tensor is read for at most as
many elements as the loop has iterations, since a table of embeddings is larger.

Inductor's own numbers come first where they are recorded: ``kernel_num_gb`` (``TORCHINDUCTOR_PROFILE=1``) and
``kernel_flop`` (``TORCHINDUCTOR_BENCHMARK_KERNEL=1``). It counts only products, so 0 FLOPs mean unknown. FLOPs of other
fused kernels are unknown, since a name lists each operator once; products of templates count 2·M·N·K.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import combinations, pairwise

from ridgeline.analyze.pricing.signature import Call, Tensor

Shape = tuple[int, ...]

_PRODUCTS = frozenset({"mm", "addmm", "bmm", "baddbmm"})
_MADE_FROM_NOTHING = frozenset({"zeros", "ones", "full", "fill", "arange", "zero", "empty", "rand", "randn", "iota"})
_MOST_DIMENSIONS = 3
"""Dimensions of the loop of a generated kernel; sizes that are symbols of dynamic shapes come before them."""
_SEVERAL_LOOPS = ("triton_for_", "triton_unk_")
"""Kernels of lists, with a loop for each tensor, and of loops that Inductor does not name."""
_TWO_OPERANDS = re.compile(
    r"(?:^|_)(?:add|sub|rsub|mul|div|maximum|minimum|where|lerp|atan2|remainder|fmod|logical_(?:and|or|xor)"
    r"|bitwise_(?:and|or|xor)|eq|ne|lt|le|gt|ge)(?=_|$)"
)
"""Operators of two operands, of which one may be a constant that is no argument."""
_NEEDS_TWO = re.compile(
    r"(?:gelu|silu|mish|elu|sigmoid|tanh|softplus|threshold|leaky_relu|hardtanh|hardswish|hardsigmoid|softmax|dropout)"
    r"_backward(?:_data)?(?=_|$)"
)
"""Operators that need a gradient and a saved tensor."""


def bytes_moved(call: Call) -> tuple[int, int] | None:
    """(read, written) of a generated kernel; None if no tensor is recorded."""
    tensors = call.tensors
    if giga := call.measures.get("kernel_num_gb"):
        return round(giga * 1e9), 0
    if not tensors:
        return None
    # a template's last numbers are not its sizes
    most = math.prod(_numbers(call)[-_MOST_DIMENSIONS:]) if not is_template(call.operator) and _numbers(call) else 0
    sizes = [min(t.distinct_bytes, most * t.item_bytes) if most else t.distinct_bytes for t in tensors]
    if in_place(call.operator, [t.shape for t in tensors], _numbers(call)):
        return sum(sizes), sizes[0]
    return sum(sizes[:-1]), sizes[-1]


def flops(call: Call) -> int | None:
    """Inductor's own count, or that of a product by its template's operands."""
    if counted := call.measures.get("kernel_flop"):
        return round(counted)
    if not (is_template(call.operator) and _PRODUCTS.intersection(call.operator.split("_"))):
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
    if is_template(call.operator):
        return flops(call) is not None
    if call.measures.get("kernel_num_gb"):
        return True
    if call.operator.startswith(_SEVERAL_LOOPS):
        return False
    shapes = [t.shape for t in call.tensors]
    interchangeable = len(shapes) > 1 and len({(t.elements, t.precision) for t in call.tensors}) == 1
    operands = 1 + len(_TWO_OPERANDS.findall(call.operator)) + len(_NEEDS_TWO.findall(call.operator))
    return not interchangeable or operands < len(shapes) or in_place(call.operator, shapes, _numbers(call))


def is_template(operator: str) -> bool:
    """Whether Inductor filled a template, of a product or of attention, with the operators of the kernel's name."""
    return operator.startswith("triton_tem_")


def in_place(operator: str, shapes: Sequence[Shape], numbers: Sequence[int]) -> bool:
    """Whether the first tensor is read and written and there is no output (see the module's docstring).

    ``shapes`` are those of the recorded tensors, ``numbers`` the recorded whole numbers.
    """
    if is_template(operator) or not shapes:
        return False
    if len(shapes) == 1:
        return _MADE_FROM_NOTHING.isdisjoint(operator.split("_"))
    first, last = shapes[0], shapes[-1]
    # An output has the size of the loop.
    sizes = _loop_sizes(numbers)
    if sizes and math.prod(last) not in sizes:
        return math.prod(first) in sizes
    if len(shapes) == 2 and math.prod(first) == math.prod(last) and _NEEDS_TWO.search(operator):
        return True
    # The flat form of a shape merges neighbouring dimensions: all its partial products are the shape's as well.
    partial = {math.prod(first[i:]) for i in range(len(first) + 1)}
    merges = all(math.prod(last[i:]) in partial for i in range(len(last) + 1))
    flattened = len(last) < len(first) and merges and math.prod(last) == math.prod(first)
    return flattened and "view" in operator.split("_")


def _numbers(call: Call) -> list[int]:
    return [int(v) for v in call.inputs if isinstance(v, str) and v.isdecimal()]


def _loop_sizes(numbers: Sequence[int]) -> set[int]:
    """Element counts that the loop may write: the products of some of its sizes."""
    dimensions = numbers[-_MOST_DIMENSIONS:]
    return {math.prod(some) for n in range(1, len(dimensions) + 1) for some in combinations(dimensions, n)}


def iterations(operator: str, numbers: Sequence[int]) -> int | None:
    """Iterations of the loop of a kernel that Inductor generated; None for templates and other operators."""
    sizes = [number for number in numbers if number > 0][-_MOST_DIMENSIONS:]
    return math.prod(sizes) if operator.startswith("triton_") and not is_template(operator) and sizes else None
