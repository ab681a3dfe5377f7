"""Launches of convolutions: layout changes, the main kernels of each direction, sums of split products.

cuDNN and MIOpen compute in NHWC. For operands in NCHW they launch a layout kernel for each operand before the main
kernel, and one for the result after it. A backward pass repeats this for each gradient: first that of the input (from
the weight and the result's gradient), then that of the weight (from the input and the result's gradient). The orders
below are those of cuDNN 8 and 9 and of MIOpen 3, as counters and durations show them. An implicit product reads its
input about once: the windows of neighbouring pixels come from the L2.
"""

from __future__ import annotations

import math
import re
from functools import cache
from typing import NamedTuple

from ridgeline.analyze.cache_model.launches.launch import (
    PARTIAL_SUMS,
    Helper,
    Launch,
    Node,
    Rule,
    part,
    read,
    workspace,
    write,
)
from ridgeline.analyze.cache_model.operands import Tensor, Touch
from ridgeline.analyze.cache_model.tiles import Product, partial_bytes

_PREPARES = re.compile(r"init_device_workspace|computeOffsets|^Memset")
"""Kernels that touch a few kilobytes."""
_CLEARS = re.compile(r"SubTensorOpWithScalar|scalePackedTensor")
"""Kernels that set the result to zero before the main kernel adds to it."""
_SUMS = re.compile(r"splitKreduce|ReduceSplitK|execute_split_k_kernel|reduce_wgrad")
_LAYOUTS = re.compile(
    r"nchwToNhwc|nhwcToNchw|AddPadding|[tT]ensorTransform|batched_transpose|SubTensorOpWithCast|transpose_\w*NCHW"
    r"|im2col|vol2col|Im\dd2Col|Col2Im\dd|flip_filter|fft2d|[wW]inogradTiles|winograd\w*(Data|Delta|Filter|Output)\d"
    r"|WinogradXform(Data|Filter|Out)"
)
_RESULT = re.compile(r"nhwcToNchw|CNHW2NCHW|Col2Im|[wW]inograd\w*(Output\d|XformOut)|fft2d_c2r|SubTensorOpWithCast")
"""Layout kernels that end a direction, where another follows."""
_WEIGHT = re.compile(r"Filter|[wW]inogradTiles|flip_filter")
_COLUMNS = re.compile(r"im2col|vol2col|Im\dd2Col|Col2Im")
_OF_INPUT = re.compile(r"[dD]grad|[fF]prop|bwd_data|igemm_bwd|backward_data|conv_depthwise\w*_backward_kernel")
_OF_WEIGHT = re.compile(r"[wW]grad|wrw|bwd_weight|bwd_filter|grad_weight")
_NHWC = re.compile(r"nhwckrsc|ImplicitGemmConvolution")
_FEW_CHANNELS = re.compile(r"_k\d+c([1-9]\d{0,3})r\d")
"""The channels of the input in a kernel for the first layer of a network."""
_PADS = re.compile(r"nchwToNhwc|AddPadding|tensorTransform")
_ALIGNED_BYTES = 16
"""cuDNN pads the channels of an NHWC copy to as many bytes, which a thread loads at once."""
_TILES_OF_WINOGRAD = 2.25
"""Tiles of 6×6 elements that overlap, of 4×4 results each, for each element."""


class _Step(NamedTuple):
    """The part of a launch in its call."""

    role: str
    """``main``, ``operand`` or ``result`` (layouts), ``sums``, ``clears`` or ``prepares``."""
    direction: int
    """The number of the main kernel that it belongs to."""
    at: int
    """The number of the launch among those of its role and direction."""


def _role(kernel: str) -> str:
    roles = (("prepares", _PREPARES), ("clears", _CLEARS), ("sums", _SUMS), ("layout", _LAYOUTS))
    return next((role for role, pattern in roles if pattern.search(kernel)), "main")


@cache
def _steps(kernels: tuple[str, ...]) -> list[_Step]:
    """The parts of all launches of a call."""
    roles = [_role(kernel) for kernel in kernels]
    mains = [at for at, role in enumerate(roles) if role == "main"]
    direction = [0] * len(kernels)
    for number, main in enumerate(mains):
        end = mains[number + 1] if number + 1 < len(mains) else len(kernels)
        after = [at for at in range(main + 1, end) if roles[at] == "layout"]
        # A direction has two operands at most, so earlier layouts before the next main kernel are of this result.
        named = [count for count, at in enumerate(after, 1) if _RESULT.search(kernels[at])]
        results = len(after) if end == len(kernels) else max([0, len(after) - 2, *named])
        last = after[results - 1] if results else main
        while last + 1 < end and roles[last + 1] == "sums":
            last += 1
        for at in range(last + 1, len(kernels)):
            direction[at] = min(number + 1, len(mains) - 1)
    seen: dict[tuple[str, int], int] = {}
    steps = []
    for at, role in enumerate(roles):
        if role == "layout":
            role = "result" if mains and at > mains[direction[at]] else "operand"
        key = role, direction[at]
        seen[key] = seen.get(key, -1) + 1
        steps.append(_Step(role, direction[at], seen[key]))
    return steps


class _Direction(NamedTuple):
    """What the launches of one main kernel work on."""

    operands: list[Tensor]
    """In the order of their layout kernels."""
    result: Tensor
    weight: Tensor
    others: list[Tensor]
    """Operands of a fused addition, and biases."""
    share: float = 1.0
    """The share of the first operand's pixels that are read, if the windows do not cover it."""
    phases: int = 1
    """How often the gradient is read: once for each place that a pixel can have within a stride."""

    def part(self, number: int, count: int) -> _Direction:
        """The part of the images that launch ``number`` of ``count`` works on, with all weights."""

        def cut(tensor: Tensor) -> Tensor:
            return tensor if tensor.shape == self.weight.shape else part(tensor, number, count)

        return self._replace(operands=[*map(cut, self.operands)], result=cut(self.result))


def _forward(call: Node, main: str) -> _Direction:
    source, weight, *others = call.inputs
    if "dgrad" in main.lower():
        return _Direction([weight, source], call.outputs[0], weight, others)
    return _Direction([source, weight], call.outputs[0], weight, others, _read_share(source, weight, call.outputs[0]))


def _read_share(source: Tensor, weight: Tensor, result: Tensor) -> float:
    """The share of the input's pixels in the windows of the results: strides may be longer than windows."""
    results = result.bytes / result.itemsize / max(weight.shape[0], 1)
    pixels = math.prod(source.shape) / max(source.shape[1], 1)
    return min(1.0, math.prod(weight.shape[2:]) * results / max(pixels, 1))


def _backward(call: Node, mains: list[str], number: int) -> _Direction | None:
    """The direction of a gradient; None if neither the names nor the order tell which."""
    gradient, source, weight = call.inputs[:3]
    of_input, of_weight = _gradients(call)
    # the input's gradient of a transposed convolution is a convolution
    is_transposed = weight.shape[:1] != gradient.shape[1:2]
    named = ["weight" if _OF_WEIGHT.search(name) else "input" if _OF_INPUT.search(name) else None for name in mains]
    kind = named[number]
    if kind is None and len(mains) == 2:
        kind = {"weight": "input", "input": "weight"}.get(named[1 - number] or "", ("input", "weight")[number])
    if kind is None and len(mains) == 1 and not (of_input and of_weight):
        kind = "input" if of_input else "weight"
    if kind == "input" and of_input:
        gradient_first = is_transposed or "igemm" in mains[number]
        operands = [gradient, weight] if gradient_first else [weight, gradient]
        phases = _phases(source, weight, gradient) if "strided" in mains[number] else 1
        return _Direction(operands, of_input, weight, [], phases=phases)
    if kind == "weight" and of_weight:
        if is_transposed:
            return _Direction([gradient, source], of_weight, weight, [])
        share = _read_share(source, weight, gradient)
        return _Direction([source, gradient], of_weight, weight, [], share)
    return None


def _phases(source: Tensor, weight: Tensor, gradient: Tensor) -> int:
    """The places that a pixel of the input can have within a stride and that the windows cover."""
    sizes = zip(weight.shape[2:], source.shape[2:], gradient.shape[2:], strict=False)
    return math.prod(max(min(window, round(pixels / max(results, 1))), 1) for window, pixels, results in sizes)


def _gradients(call: Node) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of input and weight among the results; a result of a guessed call may hold several."""
    _, source, weight = call.inputs[:3]
    outputs = list(call.outputs)
    of_input, of_weight = (next((o for o in outputs if o.shape == t.shape), None) for t in (source, weight))
    rest = [output for output in outputs if output not in (of_input, of_weight)]
    if not rest:
        return of_input, of_weight
    whole = max(rest, key=lambda output: output.bytes)
    first, second = (math.prod(tensor.shape) * tensor.itemsize for tensor in (source, weight))
    source, weight = (
        tensor._replace(storage=whole.storage, offset=whole.offset, bytes=size, span=size)
        for tensor, size in ((source, first), (weight, second))
    )
    if of_input is None and of_weight is None and whole.bytes >= first + second:
        return source, weight._replace(offset=whole.offset + first)
    # One is as large: the larger of those that fit.
    if of_input is None and whole.bytes >= first and (of_weight or first >= second or whole.bytes < second):
        return source, of_weight
    if of_weight is None and whole.bytes >= second:
        return of_input, weight
    return of_input, of_weight


def _work(launch: Launch, mains: list[str], number: int) -> _Direction | None:
    """What the launches of main kernel ``number`` work on; None if it is unknown."""
    call, is_backward = launch.call, "backward" in launch.call.operator
    images = call.inputs[: 2 + is_backward]
    if len(images) < 2 + is_backward or min(len(i.shape) for i in images) < 3 or not call.outputs or not mains:
        return None
    work = _backward(call, mains, number) if is_backward else _forward(call, mains[number])
    # one main kernel for each of several parts of a batch
    same_kernel = [other for other, name in enumerate(mains) if name == mains[number]]
    return work and work.part(same_kernel.index(number), len(same_kernel))


def _convolution(launch: Launch) -> list[Touch] | None:
    steps = _steps(launch.kernels)
    step = steps[launch.at]
    launches = list(zip(launch.kernels, steps, strict=True))
    mains = [kernel for kernel, other in launches if other.role == "main"]
    work = _work(launch, mains, step.direction)
    if work is None:
        return None
    main = mains[step.direction]
    here = [(other.role, kernel) for kernel, other in launches if other.direction == step.direction]
    order = _order(work, [name for role, name in here if role == "operand"])
    copies = {at: _copy(work, at, name, main) for at, name in order}
    roles = [role for role, _ in here]
    result = write(work.result)
    stored = result._replace(storage=workspace(3), offset=0) if "result" in roles else result
    product = Product(1, max(work.result.shape[0], 1) if work.result.shape else 1, max(_columns(work.result), 1))
    sums = partial_bytes(product, main, launch.multiprocessors) if "sums" in roles else 0
    partial = Touch(PARTIAL_SUMS, 0, sums, sums, True)
    if step.role == "main":
        return _main(work, copies, main, partial if sums else stored)
    if step.role == "operand":
        at, _ = order[step.at]
        return Helper([read(work.operands[at]), copies[at]])
    if step.role == "result":
        is_last = step.at == roles.count("result") - 1
        return Helper([stored._replace(write=False), result if is_last else stored])
    of_role = {"sums": [partial._replace(write=False), stored], "clears": [stored]}
    return Helper(of_role.get(step.role, []))


def _main(work: _Direction, copies: dict[int, Touch], main: str, written: Touch) -> list[Touch]:
    """What a main kernel touches; all multiprocessors read its operands."""
    touched = []
    for at, tensor in enumerate(work.operands):
        operand = copies[at]._replace(write=False) if at in copies else read(tensor)
        if at == 0 and _NHWC.search(main):  # the channels of a pixel are contiguous, so whole pixels are left out
            operand = operand._replace(bytes=math.ceil(operand.bytes * work.share))
        if work.phases > 1:
            operand = operand._replace(waves=work.phases, parts=float(tensor is not work.weight))
            written = written._replace(waves=work.phases)
        touched.append(operand._replace(shared=True))
    return [*touched, *map(read, work.others), written]


def _order(work: _Direction, layouts: list[str]) -> list[tuple[int, str]]:
    """The number of the operand that each layout kernel copies, and the kernel."""
    weight = next((at for at, operand in enumerate(work.operands) if operand is work.weight), None)
    if len(layouts) == 1 and weight is not None:
        # Weights of one pixel need no other layout, but may need more channels.
        of_weight = _WEIGHT.search(layouts[0]) or "AddPadding" in layouts[0]
        return [(weight if of_weight else 1 - weight, layouts[0])]
    return [(at % len(work.operands), name) for at, name in enumerate(layouts)]


def _copy(work: _Direction, at: int, layout: str, main: str) -> Touch:
    """The copy of operand ``at`` that a layout kernel writes into a workspace."""
    tensor = work.operands[at]
    elements, channels = math.prod(tensor.shape), tensor.shape[1] if len(tensor.shape) > 1 else 1
    size = elements * tensor.itemsize
    if _COLUMNS.search(layout):
        size = work.result.bytes * _columns(work.weight) // max(work.weight.shape[0], 1)
    elif "winograd" in layout.lower():
        size = round(size * _TILES_OF_WINOGRAD)
    elif channels and _PADS.search(layout):
        few = _FEW_CHANNELS.search(main)
        group = int(few[1]) if few else max(_ALIGNED_BYTES // tensor.itemsize, 1)
        size = size // channels * math.ceil(channels / group) * group
    return Touch(workspace(1 + at), 0, size, size, True)


def _columns(weight: Tensor) -> int:
    """Elements of the filter of one channel of the result."""
    return math.prod(weight.shape[1:])


_OPERATORS = (
    "cudnn_convolution", "cudnn_convolution_relu", "cudnn_convolution_add_relu", "cudnn_convolution_transpose",
    "miopen_convolution", "miopen_convolution_transpose", "miopen_depthwise_convolution", "_conv_depthwise2d",
    "conv_depthwise3d", "convolution", "_convolution", "convolution_overrideable", "_slow_conv2d_forward",
    "slow_conv3d_forward", "slow_conv_transpose2d", "convolution_backward",
)  # fmt: skip
RULES: dict[str, Rule] = dict.fromkeys(_OPERATORS, _convolution)
