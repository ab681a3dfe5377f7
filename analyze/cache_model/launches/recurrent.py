"""Launches of recurrent networks by cuDNN: products and cells of each step, and products of many steps.

The input of a layer is multiplied for many steps at once, the hidden state step by step. So the matrix of the hidden
state passes through the L2 at every step, and whether it stays there decides about the bytes. Layers advance side by
side on several streams, each a few steps behind the one below it: their steps alternate. A persistent kernel does all
steps of a layer. The backward pass sums the gradients of the weights over all steps in products at its end, one for
each matrix, which read and write the gradient; products of another name add what the first step needs.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from itertools import pairwise
from typing import NamedTuple

from ridgeline.analyze.cache_model.launches.launch import (
    Chunk,
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

_ROLES = (
    ("cell", re.compile(r"elemWiseRNNcell|elementWise_(?:fp|bp1)")),
    ("layer", re.compile(r"RNN\w*[pP]ersist|persistRNN")),
    ("biases", re.compile(r"elementWise_bp2")),
    ("transform", re.compile(r"region_transform")),
    ("mask", re.compile(r"dropout_apply_mask")),
    ("other", re.compile(r"^Memset|dropout_generate|bidirectional_accum")),
)
_CELLS = ("cell", "layer")
_GATES, _STATES, _KEPT, _TRANSFORMED = map(workspace, range(1, 5))
_TOGETHER = 2
"""Steps of a layer in a backward pass before another layer's."""


class _Step(NamedTuple):
    """The part of a launch in its call."""

    role: str
    """One of ``_ROLES``, or of a product: ``step``, ``steps`` (many of them), ``weights`` or ``first`` (of them)."""
    layer: int
    at: int
    """The number of the launch among the ``parts`` of its role and layer."""
    parts: int
    number: int
    """The number of the launch among the ``total`` of its role."""
    total: int


@cache
def _roles(kernels: tuple[str, ...], *, is_backward: bool) -> tuple[str, ...]:
    """The roles of all launches of a call."""
    roles = [next((role for role, kind in _ROLES if kind.search(name)), "product") for name in kernels]
    last_cell = max((at for at, role in enumerate(roles) if role in _CELLS), default=-1)
    products = [at for at, role in enumerate(roles) if role == "product"]
    by_step = Counter(kernels[at] for at in products if at <= last_cell or not is_backward).most_common(1)
    of_weights = Counter(kernels[at] for at in products if at > last_cell).most_common(1)
    works = [at for at, role in enumerate(roles) if role == "product" or role in _CELLS]
    following = {at: roles[after] for at, after in pairwise(works)}
    for at in products:
        if "cell" in roles and by_step and kernels[at] == by_step[0][0]:
            # In a backward pass, the same kernel multiplies several steps for the layer below.
            is_block = is_backward and at < last_cell and following[at] not in _CELLS
            roles[at] = "steps" if is_block else "step"
        elif is_backward and at > last_cell:
            roles[at] = "weights" if kernels[at] == of_weights[0][0] else "first"
        else:
            roles[at] = "steps"
    return tuple(roles)


@cache
def _steps(roles: tuple[str, ...], layers: int, *, is_backward: bool) -> list[_Step]:
    """The parts of all launches of a call.

    Products of many steps take turns, and in a forward pass the steps after each are of its layer. In a backward pass
    the layers take turns.
    """
    totals, seen, counts = Counter(roles), Counter[str](), Counter[tuple[str, int]]()
    found = []
    for role in roles:
        number, layer = seen[role], seen[role] % layers
        if role in ("step", *_CELLS):
            layer = number // _TOGETHER % layers if is_backward else max(seen["steps"] - 1, 0) % layers
        found.append((role, layer, counts[role, layer], number))
        seen[role] += 1
        counts[role, layer] += 1
    return [_Step(role, layer, at, counts[role, layer], number, totals[role]) for role, layer, at, number in found]


class _Network(NamedTuple):
    """The operands of a network; ``layers`` counts those of both directions."""

    layers: int
    gates: int
    """Bytes of the gates of a layer, of all steps."""
    states: int
    """Bytes of the hidden states of a layer, of all steps."""
    matrices: list[Touch]
    """For each layer that of the input, that of the hidden state, and others."""
    is_transformed: bool
    """Whether products read copies of the matrices."""
    source: Tensor
    others: list[Tensor]
    """The arguments after the weights."""
    outputs: Sequence[Tensor]
    is_backward: bool

    def matrix(self, layer: int, number: int) -> Touch:
        """The matrix of the input (0) or of the hidden state (1)."""
        matrix = self.matrices[layer * (len(self.matrices) // self.layers) + number]
        return matrix._replace(storage=_TRANSFORMED) if self.is_transformed else matrix

    def gates_of(self, layer: int, at: int, count: int) -> Touch:
        """A part of a layer's gates, or of their gradients."""
        return part(Touch(_GATES, layer * self.gates, self.gates, self.gates, True), at, count)

    def states_of(self, layer: int, at: int, count: int) -> Touch:
        """A part of a layer's hidden states, or of their gradients; the last layer's are an operand of the call."""
        storage, offset = _STATES, layer * self.states
        if layer == self.layers - 1:
            steps = [t for t in self.others if t.shape[:-1] == self.source.shape[:-1]] or [self.source]
            storage, offset = (steps[-1] if self.is_backward else self.outputs[0])[:2]
        return part(Touch(storage, offset, self.states, self.states, True), at, count)


@lru_cache(maxsize=4)
def _network(call: Node, *, is_transformed: bool) -> _Network | None:
    """The operands of a call; None if they are not those of a network."""
    source, *rest = call.inputs
    elements = [tensor.bytes // tensor.itemsize for tensor in rest]
    # The weights are views of a buffer that follows them, if there is one.
    buffers = [at for at, t in enumerate(rest) if at and len(t.shape) == 1 and 0 < sum(elements[:at]) <= elements[at]]
    end = buffers[0] if buffers else next((at for at, t in enumerate(rest) if len(t.shape) == 3), len(rest))
    others = rest[end + bool(buffers) :]
    matrices, offset = [], 0
    for tensor in (weight for weight in rest[:end] if len(weight.shape) == 2):
        size = tensor.shape[0] * tensor.shape[1] * source.itemsize
        storage, first = rest[end][:2] if buffers else tensor[:2]
        first += offset * bool(buffers)
        matrices.append(Touch(storage, first, size, size, False))
        offset += size
    layers, _, width = next((tensor.shape for tensor in others if len(tensor.shape) == 3), (0, 0, 0))
    if not layers or not width or len(matrices) < 2 * layers or not source.shape or not source.shape[-1]:
        return None
    rows = source.bytes // source.itemsize // source.shape[-1]
    gates = rows * matrices[0].bytes // source.shape[-1]
    states = rows * width * source.itemsize
    is_backward = "backward" in call.operator
    return _Network(layers, gates, states, matrices, is_transformed, source, others, call.outputs, is_backward)


def _as_read(touch: Touch) -> Touch:
    return touch._replace(write=False)


def _cell(network: _Network, step: _Step) -> list[Touch]:
    number = step.layer, step.at, step.parts
    gates, states = network.gates_of(*number), network.states_of(*number)
    if not network.is_backward:
        kept = Touch(_KEPT, step.layer * network.states, network.states, network.states, True)
        return Helper([_as_read(gates), states, part(kept, step.at, step.parts)])
    reserve = [part(read(t), step.number, step.total) for t in network.others if t.itemsize == 1][-1:]
    return Helper([*reserve, _as_read(states), gates])


def _layer(network: _Network, step: _Step) -> list[Touch]:
    return [network.matrix(step.layer, 1), *_cell(network, step)]


def _one_step(network: _Network, step: _Step) -> list[Touch]:
    gates = network.gates_of(step.layer, step.at, step.parts)
    return [network.matrix(step.layer, 1), _as_read(gates), *([] if network.is_backward else [gates])]


def _many_steps(network: _Network, step: _Step) -> list[Touch]:
    layer, at, count = step.layer, step.at, step.parts
    gates = network.gates_of(layer, at, count)
    below = network.states_of(layer - 1, at, count) if layer else part(write(network.source), at, count)
    if network.is_backward:
        return [network.matrix(layer, 0), _as_read(gates), below]
    return [network.matrix(layer, 0), _as_read(below), gates]


def _gradients(network: _Network) -> list[Touch]:
    """The gradients of the matrices; a guessed call has one result, which ends with them."""
    matrices = [write(output) for output in network.outputs if len(output.shape) == 2]
    if len(matrices) == len(network.matrices):
        return matrices
    result, left = network.outputs[0], sum(matrix.bytes for matrix in network.matrices)
    first = result.offset + max(result.bytes - left, 0) - network.matrices[0].offset
    return [
        matrix._replace(storage=result.storage, offset=first + matrix.offset, write=True) for matrix in network.matrices
    ]


def _weights(network: _Network, step: _Step) -> list[Touch]:
    number = step.number * len(network.matrices) // step.total
    each = len(network.matrices) // network.layers
    layer = min(number // each, network.layers - 1)
    gradient = _gradients(network)[number]
    is_of_input = number % each == 0
    source = network.states_of(layer - is_of_input, 0, 1) if layer or not is_of_input else write(network.source)
    return [_as_read(network.gates_of(layer, 0, 1)), _as_read(source), _as_read(gradient), gradient]


def _first_step(network: _Network, step: _Step) -> list[Touch]:
    each = len(network.matrices) // network.layers
    return [_gradients(network)[step.layer * each + 1]]


def _biases(network: _Network, step: _Step) -> list[Touch]:
    return Helper([_as_read(network.gates_of(step.layer, 0, 1))])


def _transform(network: _Network, step: _Step) -> list[Touch]:
    matrix = network.matrices[step.number % len(network.matrices)]
    return Helper([matrix, matrix._replace(storage=_TRANSFORMED, write=True)])


def _mask(network: _Network, step: _Step) -> list[Touch]:
    states = network.states_of(0, step.number, step.total)
    return Helper([_as_read(states), states])


_OF_ROLE: dict[str, Callable[[_Network, _Step], list[Touch]]] = {
    "cell": _cell, "layer": _layer, "step": _one_step, "steps": _many_steps, "weights": _weights, "first": _first_step,
    "biases": _biases, "transform": _transform, "mask": _mask,
}  # fmt: skip


def _recurrent(launch: Launch) -> list[Touch] | None:
    call = launch.call
    is_backward = "backward" in call.operator
    roles = _roles(launch.kernels, is_backward=is_backward)
    role = roles[launch.at]
    if role == "other":
        return Helper()
    network = _network(call, is_transformed="transform" in roles) if call.inputs and call.outputs else None
    if network is None or not any(cell in roles for cell in _CELLS):
        whole = [*map(read, call.inputs), *map(write, call.outputs)]
        return Chunk(part(touch, launch.at, len(launch.kernels)) for touch in whole)
    return _OF_ROLE[role](network, _steps(roles, network.layers, is_backward=is_backward)[launch.at])


RULES: dict[str, Rule] = dict.fromkeys(
    ("_cudnn_rnn", "_cudnn_rnn_backward", "miopen_rnn", "miopen_rnn_backward"), _recurrent
)
