"""Which tensor each input is: see the rules in :mod:`ridgeline.analyze.cache_model.heuristic`."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import count

from ridgeline.analyze.cache_model.heuristic.records import Operand, Part, Record, Recorded, Size, record
from ridgeline.analyze.cache_model.launches.launch import Call, Node
from ridgeline.analyze.cache_model.operands import Tensor

_BLOCK_BYTES = 512
_NAMELESS = 1 << 16
"""Smaller inputs that match nothing are the same at each call of an operator: scalars, small constants."""
_RECENT = 16
"""The newest results of a size, which are the candidates for an input."""
_HELD = 2
"""Calls after its last reader in which a result keeps its memory: frames that passed it on still refer to it."""
_TRANSIENT = frozenset({"pow", "neg"})
"""Operators whose result is read once: squares by a mean, negated halves by the concatenation of rotary embeddings."""


class _Value:
    """The content of a tensor; ``fixed`` for parameters and caches, ``used`` is the number of the last call."""

    __slots__ = ("backward", "blocks", "fixed", "freed", "made_by", "read", "storage", "tensor", "used")

    def __init__(self, tensor: Operand, made_by: str, *, backward: bool, fixed: bool) -> None:
        self.blocks = -(-tensor.size[0] * tensor.size[1] // _BLOCK_BYTES)
        """Its size in blocks of the allocator."""
        self.tensor = tensor
        self.made_by = made_by
        self.backward = backward
        self.fixed = fixed
        self.read = self.freed = False
        self.used = self.storage = 0


class _State:
    """The values so far; ``names`` are those of all operators of the sequence."""

    def __init__(self, names: set[str]) -> None:
        self.forwards = {name.partition("_backward")[0] for name in names if "_backward" in name}
        """Operators that have a backward of their own name."""
        self.backward = False
        """Whether the last operator that tells belongs to a backward."""
        self.by_size: dict[Size, deque[_Value]] = {}
        """The newest values that are not fixed, by the number and the size of their elements."""
        self.kept: dict[Size, list[_Value]] = {}
        """What forwards made and no backward has read yet."""
        self.joined: dict[Size, _Value] = {}
        """The last result of a residual addition."""
        self.constants: dict[tuple[object, ...], _Value] = {}
        self.last_left: _Value | None = None
        """The left operand of the last product."""
        self.after_product = False
        """Whether only sums came after it."""

    def new(self, tensor: Operand, made_by: str = "", *, fixed: bool = False) -> _Value:
        """Add a value; ``fixed`` ones are never candidates for other inputs."""
        value = _Value(tensor, made_by, backward=self.backward, fixed=fixed)
        if not fixed:
            same_size = self.by_size.get(tensor.size)
            if same_size is None:
                same_size = self.by_size[tensor.size] = deque(maxlen=_RECENT)
            same_size.append(value)
            if not self.backward:
                self.kept.setdefault(tensor.size, []).append(value)
        return value

    def take_kept(self, tensor: Operand) -> _Value:
        """What the forward kept: backward reads it in reverse order. Else it was made before the sequence."""
        kept = self.kept.get(tensor.size)
        return kept.pop() if kept else self.new(tensor, fixed=True)

    def unread(self, at: int, tensor: Operand) -> _Value | None:
        """The newest unread result of the input's shape, else the oldest one that it can be a view of."""
        oldest = other_layout = None
        for value in reversed(self.by_size.get(tensor.size, ())):
            # a backward reads results of the forward as kept ones
            if value.read or value.used == at or (self.backward and not value.backward):
                continue
            same_shape = value.tensor.core == tensor.core
            if tensor.may_be(value.tensor):
                if same_shape:
                    return value
                oldest = value
            elif same_shape and other_layout is None:
                other_layout = value
        # its layout was guessed, too
        return oldest or other_layout

    def last_used(self, at: int, tensor: Operand) -> _Value | None:
        """The result of the input's size that was used last; a read one rather than an unread one."""
        last = None
        for value in self.by_size.get(tensor.size, ()):
            if value.used != at and not (value.read and value.made_by in _TRANSIENT):
                later = last is None or value.used > last.used
                if later or (last and value.used == last.used and value.read > last.read):
                    last = value
        return last


def guess(calls: Sequence[Recorded], records: dict[Recorded, Record] | None = None) -> list[Call]:
    """The calls with invented storages; calls must be in the order of their kernels.

    ``records`` keeps what several sequences have in common, so that their equal calls share forms.
    """
    # Most calls repeat a few hundred records.
    records = {} if records is None else records
    distinct = set(calls)
    records.update({call: record(call) for call in distinct if call not in records})
    state = _State({records[call].name for call in distinct})
    bound = [(of := records[call], *_bind(state, at, of)) for at, call in enumerate(calls)]
    # Give each value a storage. After its last reader it is free for the next value of its size.
    free: dict[int, list[int]] = {}
    dead: list[list[_Value]] = [[] for _ in range(len(bound) + _HELD + 1)]
    storages = count(1)
    guessed = []
    for at, (of, inputs, outputs) in enumerate(bound):
        for value in dead[at]:
            free.setdefault(value.blocks, []).append(value.storage)
        values = list(dict.fromkeys(inputs + outputs))
        for value in values:
            if not value.storage:
                freed = None if value.fixed else free.get(value.blocks)
                value.storage = freed.pop() if freed else next(storages)
        guessed.append(_call(of, inputs, outputs))
        for value in values:
            if value.used == at and not value.fixed and not value.freed:
                value.freed = True
                dead[at + 1 + _HELD].append(value)
    return guessed


def alone(call: Recorded) -> Call:
    """A call by itself: each tensor has a storage of its own, and what the call changes is its result."""
    of = record(call)
    tensors = [Tensor(place, 0, *tensor.layout) for place, tensor in enumerate([*of.inputs, *of.outputs])]
    inputs, results = tensors[: len(of.inputs)], tensors[len(of.inputs) :]
    if of.mutated is not None:
        results = [inputs[of.mutated]]
    form = Node(of.operator, tuple(inputs), tuple(results), of.iterations, of.arguments)
    return Call(form, [(place, 0) for place in range(len(tensors))])


def _call(of: Record, inputs: list[_Value], outputs: list[_Value]) -> Call:
    """The call with these values of its inputs and outputs."""
    results = outputs if of.outputs else inputs[of.mutated : of.mutated + 1] if of.mutated is not None else []
    used = [(value.storage, 0) for value in inputs + results]
    if of.has_slices:
        # Slices of one tensor in a call are those that lie side by side, such as query, key and value.
        seen: dict[int, int] = {}
        for i, ((storage, _), tensor) in enumerate(zip(used, of.inputs, strict=False)):
            at = seen.get(storage, 0) if tensor.slice_bytes else 0
            seen[storage] = at + 1
            used[i] = storage, at * tensor.slice_bytes
    places: dict[tuple[int, int], int] = {}
    numbers = [places.setdefault(place, len(places)) for place in used]
    if (form := of.forms.get(key := tuple(numbers))) is None:
        layouts = [*of.inputs, *(of.outputs or ([] if of.mutated is None else [of.inputs[of.mutated]]))]
        tensors = [Tensor(place, 0, *tensor.layout) for place, tensor in zip(numbers, layouts, strict=True)]
        split = len(of.inputs)
        form = of.forms[key] = Node(
            of.operator, tuple(tensors[:split]), tuple(tensors[split:]), of.iterations, of.arguments
        )
    return Call(form, list(places))


def _bind(state: _State, at: int, of: Record) -> tuple[list[_Value], list[_Value]]:
    """The values of the inputs of the call number ``at``, and of its new outputs."""
    if "_backward" in of.name:
        state.backward = True
    elif of.name in state.forwards:
        state.backward = False
    values: list[_Value] = []
    for i, tensor in enumerate(of.inputs):
        value = None if tensor.part is Part.OTHER else _by_part(state, at, of, values)
        value = value or _matching(state, at, of, values) or _unknown(state, of, i)
        value.read, value.used = True, at
        values.append(value)
    if of.left is not None:
        # The gradient that a product has read, which the gradient of a weight and that of a bias read again.
        factors, left = values[of.left : of.left + 2], of.inputs[of.left]
        if not left.transposed:
            factors[0].tensor = left  # it is recognized in the shape that products read
        state.last_left = next((v for v in factors if v.backward), factors[0]) if state.backward else factors[0]
    state.after_product = of.left is not None or (state.after_product and of.name == "sum")
    outputs = [state.new(output, of.name) for output in of.outputs]
    for value in outputs:
        # A cache that grew is read by the next step, so its memory is not free.
        value.used, value.freed = at, of.grows
    result = outputs[0] if outputs else None
    if of.mutated is not None:
        result = values[of.mutated]
        result.read, result.made_by = False, of.name
    if of.joins and result:
        state.joined[of.inputs[0].size] = result
    return values, outputs


def _by_part(state: _State, at: int, of: Record, earlier: Sequence[_Value]) -> _Value | None:
    """The value of the input after the ``earlier`` ones, where its part in the call tells, or None."""
    tensor = of.inputs[len(earlier)]
    match tensor.part:
        case Part.FRESH:
            return state.new(tensor)
        case Part.LEFT | Part.RIGHT:
            return _factor(state, at, of, earlier)
        case Part.GROWN:
            # A cache that an earlier step wrote, unless it was just made.
            value = None if tensor.slice_bytes else state.unread(at, tensor)
            return value or state.new(tensor, fixed=True)
        case Part.TARGET:
            # Rows go into a cache or a table of their own, which stays, unless it was just made.
            if (value := state.unread(at, tensor)) and value.made_by != of.name:
                return value
            value = state.new(tensor)
            value.freed = True
            return value
        case Part.KEPT if tensor.span >= _NAMELESS:
            return _same_slices(of, earlier) or state.take_kept(tensor)
    return None


def _unknown(state: _State, of: Record, i: int) -> _Value:
    """The value of input ``i``, which matches no earlier one: it was made before the sequence."""
    tensor = of.inputs[i]
    if tensor.span >= _NAMELESS:
        return state.new(tensor, fixed=i > 0 or tensor.part is Part.TABLE)
    # scalars and small constants, the same at every call
    key = (of.operator, i, tensor.layout)
    if key not in state.constants:
        state.constants[key] = state.new(tensor, fixed=True)
    return state.constants[key]


def _same_slices(of: Record, earlier: Sequence[_Value]) -> _Value | None:
    """The value of an earlier input that is a slice of the same tensor, such as query, key and value."""
    tensor = of.inputs[len(earlier)]
    slices = (
        v for v, other in zip(earlier, of.inputs, strict=False) if other.slice_bytes and other.size == tensor.size
    )
    return next(slices, None) if tensor.slice_bytes else None


def _factor(state: _State, at: int, of: Record, earlier: Sequence[_Value]) -> _Value | None:
    """The value of a product's operand, or None if nothing tells."""
    left_at = of.left or 0
    left, right = of.inputs[left_at : left_at + 2]
    tensor = of.inputs[len(earlier)]
    again = state.last_left
    last = again if state.after_product else None
    if state.backward and left.transposed:
        return _gradient_factor(state, at, last, of, earlier)
    value = state.unread(at, tensor)
    if tensor is left:
        if state.backward:
            return value
        # several products of one input, such as the projections of attention
        return next((v for v in (last, value, again) if v and (v is value or v.tensor.core == tensor.core)), None)
    if len(right.layout[2]) > 2:  # products of activations
        if value or state.backward:
            return value or state.take_kept(tensor)
        return earlier[-1] if left.core == (*right.core[:-2], *right.core[:-3:-1]) else None
    if value and value.made_by == "copy" and value.tensor.core in (tensor.core, tensor.core[::-1]):
        return value  # a weight that was just converted
    return state.new(tensor, fixed=True)


def _gradient_factor(
    state: _State, at: int, last: _Value | None, of: Record, earlier: Sequence[_Value]
) -> _Value | None:
    """The value of an operand of a product that gives the gradient of a weight, or of a product's right operand.

    One is the gradient, which the product before (``last``) has read or which is new; the forward kept the other one.
    """
    left, right = of.inputs[of.left or 0 :][:2]
    new = state.unread(at, left)
    gradients = [value.tensor.core for value in (last, new) if value]
    is_left = left.core[::-1] in gradients and right.core not in gradients
    tensor = of.inputs[len(earlier)]
    if tensor is not (left if is_left else right):
        return state.take_kept(tensor)
    return last if last and last.tensor.core in (tensor.core, tensor.core[::-1]) else None


def _matching(state: _State, at: int, of: Record, earlier: Sequence[_Value]) -> _Value | None:
    """An earlier value that the input after the ``earlier`` ones can be, or None; no two inputs are the same value."""
    tensor = of.inputs[len(earlier)]
    if tensor.slice_bytes:
        same, last = _same_slices(of, earlier), state.last_used(at, tensor)
        apart = same and last and not last.read and last.made_by == same.made_by  # two caches, such as keys and values
        return last if apart else same or last
    again = state.last_left if state.after_product and of.name == "sum" else None
    if again and again.tensor.core == tensor.core:
        return again
    if value := state.unread(at, tensor):
        return value
    joined = state.joined.get(tensor.size)
    if of.joins and joined and joined.used != at:
        return joined
    if state.backward and not of.joins and of.repeats[len(earlier)]:
        return state.take_kept(tensor)
    return state.last_used(at, tensor)
