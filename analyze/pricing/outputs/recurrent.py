"""Recurrent networks."""

from __future__ import annotations

from ridgeline.analyze.pricing.outputs.calls import Result, check, dense, like, lists, table
from ridgeline.analyze.pricing.signature import Arguments


def _network(call: Arguments) -> Result:
    """``lstm``, ``gru`` and ``rnn_*``: the result of each step, and the states after the last."""
    states = lists(call, "hx") if isinstance(call.arguments.get("hx"), list) else [call.needed("hx")]
    directions = 2 if call.flag("bidirectional") else 1
    source, width = call.tensor("input") or call.needed("data"), states[0].shape[-1]
    check(len(source.shape) >= 2)
    return [dense((*source.shape[:-1], width * directions), source.precision), *(like(state) for state in states)]


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
