"""Recurrent networks."""

from __future__ import annotations

from ridgeline.analyze.pricing.outputs.calls import (
    Result,
    check,
    dense,
    integer,
    integers,
    like,
    lists,
    same_as_each,
    table,
    unknown,
)
from ridgeline.analyze.pricing.signature import Arguments


def _network(call: Arguments) -> Result:
    """``lstm``, ``gru`` and ``rnn_*``: the result of each step, and the states after the last."""
    states = lists(call, "hx") if isinstance(call.arguments.get("hx"), list) else [call.needed("hx")]
    directions = 2 if call.flag("bidirectional") else 1
    source, width = call.tensor("input") or call.needed("data"), states[0].shape[-1]
    check(len(source.shape) >= 2)
    return [dense((*source.shape[:-1], width * directions), source.precision), *(like(state) for state in states)]


def _device_network(call: Arguments) -> Result:
    """Each step, the states after the last, an empty reserve for the backward pass, and the packed weights.

    ``batch_sizes`` holds the sequences of each step where they are packed one after the other.
    """
    source, hidden, packed = call.needed("input"), call.needed("hx"), integers(call, "batch_sizes", [])
    directions = 2 if call.flag("bidirectional") else 1
    width = integer(call, "hidden_size")
    projected = integer(call, "proj_size", 0) or width
    check(len(source.shape) == (2 if packed else 3))
    sequences = packed[0] if packed else source.shape[not call.flag("batch_first")]
    layers = integer(call, "num_layers") * directions
    lists(call, "weight")
    cell = call.tensor("cx")
    return [
        dense((*source.shape[:-1], projected * directions), source.precision),
        dense((layers, sequences, projected), hidden.precision),
        dense((layers, sequences, width), cell.precision) if cell else dense((0,), "fp32"),
        dense((0,), "uint8"),
        *call.tensors("weight_buf"),
    ]


def _layer(call: Arguments) -> Result:
    """One direction of a layer on a CPU: each step, the states after the last, and an empty workspace."""
    source = call.needed("input")
    check(len(source.shape) == 3)
    states = [dense(state.shape, state.precision) for state in (call.needed("hx_"), call.needed("cx_"))]
    steps = dense((*source.shape[:2], integer(call, "hidden_size")), source.precision)
    return [steps, *states, dense((0,), "uint8")]


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
    ("_cudnn_rnn miopen_rnn", _device_network),
    ("mkldnn_rnn_layer", _layer),
    (
        "mkldnn_rnn_layer_backward",
        same_as_each("input", "weight1", "weight2", "weight3", "weight4", "hx_", "cx_tmp"),
    ),
    ("_cudnn_rnn_flatten_weight", unknown),
    ("_thnn_fused_lstm_cell", _fused_cell),
    ("_thnn_fused_gru_cell", _fused_gru),
    ("_thnn_fused_lstm_cell_backward_impl", _gate_gradients),
    ("_thnn_fused_lstm_cell_backward", _both_gate_gradients),
    ("lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell", _cell),
)
