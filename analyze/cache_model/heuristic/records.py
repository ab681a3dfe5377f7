"""What calls with equal records have in common: the tensors that they take and return, and the part of each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import Enum, auto
from functools import lru_cache
from itertools import dropwhile, zip_longest
from typing import Any, NamedTuple

from ridgeline.analyze.cache_model.launches.engines import marks
from ridgeline.analyze.cache_model.launches.launch import writes_into_argument
from ridgeline.analyze.cache_model.operands import Tensor, is_sizes, view
from ridgeline.analyze.pricing.families import base_name
from ridgeline.analyze.pricing.rules import triton
from ridgeline.analyze.pricing.signature import dense_strides, json_list
from ridgeline.analyze.reading.columns import Signature

_ITEMSIZES = {
    "double": 8, "float": 4, "c10::half": 2, "c10::bfloat16": 2, "long int": 8, "long": 8, "int": 4, "short int": 2,
    "signed char": 1, "unsigned char": 1, "bool": 1, "c10::float8_e4m3fn": 1, "c10::float8_e5m2": 1,
}  # fmt: skip
_PRODUCTS = {"mm": 1, "bmm": 1, "matmul": 1, "linear": 1, "addmm": 2, "baddbmm": 2}
"""Position of the right operand."""
_IN_PLACE = frozenset({"index_copy", "copy", "fill", "zero", "index_put", "_index_put_impl", "scatter", "index_add"})
_SCATTERS = frozenset({"index_copy", "index_put", "_index_put_impl", "index_add", "scatter", "scatter_add"})
_FRESH = frozenset({"copy", "fill", "zero"})
"""Operators whose target is most often just allocated, unless it is a slice."""
_ARGUMENTS = {"where": 3, "gather": 4, "index_select": 3, "mm": 2, "bmm": 2, "addmm": 5, "baddbmm": 5}
"""Arguments of operators that are recorded without the overload that writes into one more argument."""
_TABLES = frozenset({"embedding", "_embedding_bag", "_embedding_bag_forward_only", "index_select", "gather", "index"})
_APPENDED = 4
"""A tensor that a concatenation makes longer has at least as many times the elements of the rest."""
_SIDE = ("norm", "dropout", "sort", "attention", "backward", "topk")
"""In the names of operators that return side results."""
_SIDE_RESULT = 0.75
"""The largest share of an operator's side results (statistics, a mask, indices of one byte) in its main result."""
_INDEX_BYTES = 8

Shape = tuple[int, ...]
Size = tuple[int, int]
"""The number of elements, and the bytes of one."""


class Recorded(NamedTuple):
    """One operator's call, as the profiler records it; texts are JSON, as in a signature."""

    operator: str
    dims: bytes
    types: bytes
    strides: bytes
    write_bytes: int | None
    concrete: bytes = b""


def recorded(signature: Signature, price: Mapping[str, Any] | None) -> Recorded:
    """The call of a signature, whose output has the bytes that its ``price`` says it writes."""
    operator, dims, types, strides, concrete = signature
    writes = (price or {}).get("write_bytes")
    return Recorded(operator, dims, types, strides, None if writes is None else round(writes), concrete)


class Part(Enum):
    """The part of an input in its operator's call."""

    OTHER = auto()
    TABLE = auto()
    """What is read by index: a weight, unless it is a result."""
    FRESH = auto()
    """A target that is overwritten whole."""
    LEFT = auto()
    """The left operand of a product."""
    RIGHT = auto()
    """The right operand of a product."""
    GROWN = auto()
    """What a concatenation makes longer."""
    TARGET = auto()
    """A tensor into which rows are written."""
    KEPT = auto()
    """What a forward kept for its backward, beside the gradient."""


class Operand(NamedTuple):
    """An input or an output of calls with equal records."""

    layout: tuple[Any, ...]
    """The fields of its :class:`Tensor`, without the storage and the offset."""
    core: Shape
    """Its shape without leading ones."""
    size: Size
    """The size of the tensor that it is a view of, as far as its strides tell."""
    slice_bytes: int
    """The bytes from this slice to the next, where it is a slice with gaps; else 0."""
    part: Part
    steps: frozenset[int] = frozenset()
    """Its strides beyond 1: one tensor is read in other shapes that split or join its dimensions."""
    transposed: bool = False
    """Whether it is a matrix that is stored column by column."""

    def may_be(self, other: Operand) -> bool:
        """Whether both can be views of one tensor: the dimensions of one split those of the other."""
        return self.steps <= other.steps or self.steps >= other.steps

    @property
    def span(self) -> int:
        span: int = self.layout[1]
        return span


class Record(NamedTuple):
    """What calls with equal records have in common."""

    operator: str
    name: str
    inputs: list[Operand]
    left: int | None
    """The position of a product's left operand, if it has one."""
    mutated: int | None
    """The position of the input that is the output."""
    outputs: list[Operand]
    """New outputs."""
    iterations: int | None
    arguments: tuple[int, ...]
    """The position of the argument of each input."""
    grows: bool
    """Whether it makes an input longer."""
    joins: bool
    """Whether it adds two tensors of its result's size, as at the end of a residual branch."""
    has_slices: bool
    """Whether an input is a slice with gaps."""
    repeats: list[bool]
    """Whether an earlier input has the size of this one."""
    forms: dict[tuple[object, ...], Any]
    """The forms of calls so far, by the places of their tensors."""


def record(call: Recorded) -> Record:
    """Parse what calls like this one have in common."""
    name = base_name(call.operator)
    recorded_tensors = _tensors(call)
    tensors = [(tensor, steps) for _, tensor, steps in recorded_tensors]
    layouts = [tensor for tensor, _ in tensors]
    arguments = tuple([argument for argument, *_ in recorded_tensors])
    is_generated = call.operator.startswith("triton_")
    texts = json_list(call.concrete) or [] if is_generated else []
    numbers = [int(text) for text in texts if isinstance(text, str) and text.isdecimal()]
    loop = triton.iterations(call.operator, numbers)
    in_place = name in _IN_PLACE or call.operator.rpartition("::")[2].partition(".")[0].endswith("_")
    written = writes_into_argument(call.operator)
    if name in _ARGUMENTS and not written:
        written = len(json_list(call.dims) or []) > _ARGUMENTS[name]
    parts = _parts(name, layouts)
    if loop is not None:
        in_place = in_place or triton.in_place(call.operator, [tensor.shape for tensor in layouts], numbers)
        written = not in_place
    if written:
        parts[-1:] = [Part.FRESH] * len(parts[-1:])
    into, overwritten = _targets(call.operator, arguments)
    for at in overwritten:
        parts[at] = Part.FRESH
    inputs = [operand(tensor, steps, part) for (tensor, steps), part in zip(tensors, parts, strict=True)]
    changes = bool(inputs) and (in_place or written or bool(into))
    left = parts.index(Part.LEFT) if Part.LEFT in parts else None
    outputs = [] if changes or not call.write_bytes else _outputs(name, tensors, left, call.write_bytes)
    first = {tensor.size: at for at, tensor in reversed([*enumerate(inputs)])}
    return Record(
        call.operator,
        name,
        inputs,
        left,
        None if not inputs or outputs else into[0] if into else len(inputs) - 1 if written else 0 if in_place else None,
        outputs,
        loop,
        arguments,
        Part.GROWN in parts,
        name == "add" and len(inputs) > 1 and inputs[0].size == inputs[1].size,
        any(tensor.slice_bytes for tensor in inputs),
        [first[tensor.size] < at for at, tensor in enumerate(inputs)],
        {},
    )


def _targets(operator: str, arguments: Sequence[int]) -> tuple[list[int], list[int]]:
    """The inputs into which an operator outside PyTorch writes, and those of them that it does not read."""
    moves = dict(enumerate(marks(operator)))
    if not moves:
        return [], []
    into = [at for at, argument in enumerate(arguments) if moves.get(argument) in ("=", "+")]
    return into, [at for at in into if moves[arguments[at]] == "="]


@lru_cache(maxsize=4096)
def operand(tensor: Tensor, steps: tuple[int, ...] | None = None, part: Part = Part.OTHER) -> Operand:
    """An operand with the strides ``steps``, which are dense if None."""
    shape = tensor.shape
    if steps is None or len(steps) != len(shape):
        steps = dense_strides(shape)
    kept = sorted((stride, size) for stride, size in zip(steps, shape, strict=True) if stride and size != 1)
    # A slice repeats with the stride of the first dimension beyond its contiguous run; the outermost stride times its
    # size is the whole tensor, unless that dimension was cut, too.
    run = 1
    for stride, size in kept:
        if stride != run:
            break
        run *= size
    whole = max([stride * size for stride, size in kept], default=1)
    elements = math.prod(size for _, size in kept)
    if part is Part.FRESH and whole != elements:
        part = Part.OTHER
    return Operand(
        tensor[2:],
        tuple(dropwhile(lambda size: size == 1, shape)),
        (whole if 0 not in shape else 0, tensor.itemsize),
        run * tensor.itemsize if whole > elements else 0,
        part,
        frozenset(stride for stride, _ in kept if stride > 1),
        len(shape) > 1 and shape[-2] > 1 and shape[-1] > 1 and steps[-2] == 1 and steps[-1] > 1,
    )


def _parts(name: str, tensors: Sequence[Tensor]) -> list[Part]:
    """The part of each input."""
    parts = [Part.OTHER] * len(tensors)
    right = _PRODUCTS.get(name)
    if right is not None and len(tensors) > right:
        parts[right - 1 : right + 1] = Part.LEFT, Part.RIGHT
    elif name in _TABLES and tensors:
        parts[0] = Part.TABLE
    elif name in _FRESH and tensors:
        parts[0] = Part.FRESH
    elif name in _SCATTERS and tensors:
        parts[0] = Part.TARGET
    elif name == "cat" and len(tensors) > 1:
        elements = [math.prod(tensor.shape) for tensor in tensors]
        longest = elements.index(max(elements))
        if 0 < _APPENDED * (sum(elements) - elements[longest]) <= elements[longest]:
            parts[longest] = Part.GROWN
    elif "_backward" in name:
        parts[1:] = [Part.KEPT] * (len(tensors) - 1)
    return parts


def _outputs(
    name: str, tensors: Sequence[tuple[Tensor, tuple[int, ...] | None]], left: int | None, size: int
) -> list[Operand]:
    """New outputs, which are ``size`` bytes together."""
    inputs = [tensor for tensor, _ in tensors]
    itemsize = inputs[0].itemsize if inputs else 1
    if left is not None:
        rows = inputs[left].shape[:-1]
        return [_dense((*rows, size // itemsize // max(math.prod(rows), 1)), itemsize, size)]
    if gradients := _gradients(name, inputs, size):
        return gradients
    # A main result like an input and perhaps side results; a backward returns the gradient of its second input.
    likes = [*tensors[1:2], *tensors[:1]] if "_backward" in name else tensors[:1]
    for tensor, steps in likes if any(part in name for part in _SIDE) else []:
        main = math.prod(tensor.shape) * tensor.itemsize
        rest = size - main
        if main and rest > 0 and (rest <= _SIDE_RESULT * main or rest == math.prod(tensor.shape) * _INDEX_BYTES):
            # Side results with an element for each element of the main one are masks or indices.
            each = max(rest // math.prod(tensor.shape), 1)
            aside = tensor.shape if rest == math.prod(tensor.shape) * each else (rest // each,)
            # a layer norm makes its input contiguous
            main_result = _like(tensor, None if "layer_norm" in name else steps)
            return [main_result, _dense(aside, each, rest)]
    if name.endswith("with_indices"):
        elements = size // (itemsize + _INDEX_BYTES)
        return [_dense((elements,), itemsize), _dense((elements,), _INDEX_BYTES)]
    # the shape of an input with as many bytes, or of the largest one with smaller elements, as comparisons return
    for tensor, steps in tensors:
        if math.prod(tensor.shape) * tensor.itemsize == size:
            return [_like(tensor, steps)]
    largest = max(inputs, key=lambda tensor: math.prod(tensor.shape), default=None)
    if largest and (elements := math.prod(largest.shape)) and size % elements == 0 and size // elements < itemsize:
        return [_dense(largest.shape, size // elements)]
    return [_dense((size // itemsize,), itemsize, size)]


def _gradients(name: str, inputs: Sequence[Tensor], size: int) -> list[Operand] | None:
    """Gradients of query, key and value, or of image, weight and perhaps bias; None if they are not ``size`` bytes."""
    shapes = [tensor.shape for tensor in inputs[1:4]]
    if name.endswith("convolution_backward"):
        shapes[2:] = [shape[:1] for shape in shapes[1:2]]
    elif not name.endswith("attention_backward"):
        return None
    gradients = [_dense(shape, tensor.itemsize) for shape, tensor in zip(shapes, inputs, strict=False)]
    for found in (gradients, gradients[:2]):
        if sum(gradient.span for gradient in found) == size:
            return found
    return None


def _like(tensor: Tensor, steps: Sequence[int] | None) -> Operand:
    """A new dense tensor of this one's shape and order of dimensions."""
    shape = tensor.shape
    size = math.prod(shape) * tensor.itemsize
    dense, step = [0] * len(shape), 1
    # from the innermost dimension out; in order where the strides do not tell
    for at in sorted(range(len(shape)), key=lambda at: ((steps or (0,) * len(shape))[at], -at)):
        dense[at] = step
        step *= shape[at]
    return operand(tensor._replace(bytes=size, span=size), tuple(dense))


def _dense(shape: Shape, itemsize: int, size: int | None = None) -> Operand:
    size = math.prod(shape) * itemsize if size is None else size
    return operand(Tensor(0, 0, size, size, shape, itemsize))


@lru_cache(maxsize=4096)
def _view(shape: Shape, steps: tuple[int, ...] | None, itemsize: int) -> Tensor:
    return view(0, 0, shape, steps, itemsize)


def _tensors(call: Recorded) -> list[tuple[int, Tensor, tuple[int, ...] | None]]:
    """The inputs that are tensors, those of tensor lists one by one: position of the argument, layout and strides."""
    columns = (json_list(text) or [] for text in (call.dims, call.types, call.strides))
    tensors: list[tuple[int, Tensor, tuple[int, ...] | None]] = []

    def add(at: int, shape: Sequence[int], stride: Any, itemsize: int) -> None:
        steps = tuple(stride) if is_sizes(stride) and len(stride) == len(shape) else None
        tensors.append((at, _view(tuple(shape), steps, itemsize), steps))

    for at, (shape, kind, stride) in enumerate(zip_longest(*columns, fillvalue="")):
        if not isinstance(shape, list) or not isinstance(kind, str):
            continue
        itemsize = _ITEMSIZES.get(kind.lower().removeprefix("tensorlist").strip())
        if shape and all(isinstance(part, list) for part in shape):
            parts = stride if isinstance(stride, list) and len(stride) == len(shape) else [None] * len(shape)
            for part, steps in zip(shape, parts, strict=True):
                if is_sizes(part):
                    add(at, part, steps, itemsize or 2)
        elif itemsize and is_sizes(shape):
            add(at, shape, stride, itemsize)
    return tensors
