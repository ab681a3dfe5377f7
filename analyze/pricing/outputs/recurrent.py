"""Recurrent networks."""

from __future__ import annotations

from ridgeline.analyze.pricing.outputs.calls import Result, check, dense, integer, integers, like, lists, table
from ridgeline.analyze.pricing.signature import Arguments, Tensor

_LSTM = 2
"""The mode of cuDNN and MIOpen that has a cell state besides the hidden one."""


def _layers(call: Arguments, source: Tensor, first: Tensor) -> tuple[int, int, int]:
    """(sequences, steps, directions) of a batch that is not packed."""
    check(len(source.shape) == 3 and len(first.shape) == 3)
    batch, steps = source.shape[:2] if call.flag("batch_first") else reversed(source.shape[:2])
    return batch, steps, 2 if call.flag("bidirectional") else 1


def _network(call: Arguments) -> Result:
    """``lstm``, ``gru`` and ``rnn_*``: the result of each step, and the states after the last."""
    states = lists(call, "hx") if isinstance(call.arguments.get("hx"), list) else [call.needed("hx")]
    directions = 2 if call.flag("bidirectional") else 1
    source, width = call.tensor("input") or call.needed("data"), states[0].shape[-1]
    check(len(source.shape) >= 2)
    return [dense((*source.shape[:-1], width * directions), source.precision), *(like(state) for state in states)]


def _vendor(call: Arguments) -> Result:
    """As cuDNN returns it: result, hidden state, cell state, a reserve of unknown size, weights in one buffer."""
    source, hidden = call.needed("input"), call.needed("hx")
    directions = 2 if call.flag("bidirectional") else 1
    layers, size = integer(call, "num_layers"), integer(call, "hidden_size")
    width = integer(call, "proj_size", 0) or size
    packed = integers(call, "batch_sizes", [])
    batch = packed[0] if packed else _layers(call, source, hidden)[0]
    shape = (*source.shape[:-1], width * directions)
    cell = dense((layers * directions, batch, size), source.precision) if integer(call, "mode") == _LSTM else None
    state = dense((layers * directions, batch, width), source.precision)
    return [dense(shape, source.precision), state, cell or dense((0,), source.precision)]


def _cell(call: Arguments) -> Result:
    """One step: the new states."""
    states = lists(call, "hx") if isinstance(call.arguments.get("hx"), list) else [call.needed("hx")]
    return [like(state) for state in states]


def _fused_cell(call: Arguments) -> Result:
    """A step of a LSTM on a device: hidden state, cell state, and the gates for the backward pass."""
    cell, gates = call.needed("cx"), call.needed("input_gates")
    return [like(cell), like(cell), dense(gates.shape, gates.precision)]


def _gate_gradients(call: Arguments) -> Result:
    """Gradients of the gates, of the cell state and, if there is one, of the bias."""
    gates, cell = call.needed("workspace"), call.needed("cx")
    check(len(gates.shape) == 2)
    bias = [dense(gates.shape[1:], gates.precision)] if call.flag("has_bias") else []
    return [like(gates), like(cell), *bias]


def _both_gate_gradients(call: Arguments) -> Result:
    """As above; gates and bias occur once for the input and once for the hidden state."""
    gates, cell, *bias = _gate_gradients(call)
    return [gates, gates, cell, *bias, *bias]


def _fused_gru(call: Arguments) -> Result:
    """A step of a GRU on a device: hidden state, and five values an element for the backward pass."""
    hidden = call.needed("hx")
    return [like(hidden), dense((hidden.shape[0], 5 * hidden.shape[1]), hidden.precision)]


RULES = table(
    ("lstm gru rnn_tanh rnn_relu", _network),
    ("_thnn_fused_lstm_cell", _fused_cell),
    ("_thnn_fused_gru_cell", _fused_gru),
    ("_thnn_fused_lstm_cell_backward_impl", _gate_gradients),
    ("_thnn_fused_lstm_cell_backward", _both_gate_gradients),
    ("lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell", _cell),
)
