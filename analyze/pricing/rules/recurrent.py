"""Recurrent networks: every matrix of weights multiplies every row of its layer's input once, 2 operations an element.

A row is a step of a sequence, so the FLOPs are 2 · rows · elements of all matrices: for each layer and direction
2 · gates · hidden · (input + hidden) a row, and a projection's matrix. This holds for packed sequences, too. The
backward pass multiplies as often for the gradients of the data, which cuDNN always computes, and once more for those of
the weights. Gates are not counted, but in a cell of its own: an operation for each addition, multiplication and
activation in ``aten/src/ATen/native/cuda/RNN.cu``.

A training step keeps the gates of every row for the backward pass: 5 values for each element of a hidden state in a
LSTM, 6 in a GRU, the input of every layer above the first, and a bit for each element that dropout may clear. The sizes
are those of cuDNN 9.
"""

from __future__ import annotations

from ridgeline.analyze.pricing.binding import Bound
from ridgeline.analyze.pricing.outputs.calls import dense, like, truths
from ridgeline.analyze.pricing.rules.rule import Flops, Rule
from ridgeline.analyze.pricing.signature import Tensor, tensors_of, total_bytes

_KEPT = {2: 5, 3: 6}
"""Values that a training step keeps for each element of a hidden state, by cuDNN's number of the cell."""


def _weights(bound: Bound) -> list[Tensor]:
    return tensors_of(bound.arguments.get("weight"))


def _product_flops(bound: Bound) -> int:
    """FLOPs of all rows and matrices, once."""
    source = bound.needed("input")
    rows = source.elements // max(source.shape[-1], 1)
    return 2 * rows * sum(weight.elements for weight in _weights(bound) if len(weight.shape) == 2)


def _forward_flops(bound: Bound, outputs: list[Tensor]) -> int:
    return _product_flops(bound)


def _backward_flops(bound: Bound, outputs: list[Tensor]) -> int:
    *_, of_weights = truths(bound, "output_mask", 4)
    return _product_flops(bound) * (1 + of_weights)


def _backward_outputs(bound: Bound) -> list[Tensor]:
    """The gradients of input, states and weights; cuDNN writes that of the input whether it is asked for or not."""
    *_, of_weights = truths(bound, "output_mask", 4)
    data = [like(tensor) for tensor in bound.tensors("input", "hx", "cx")]
    return [*data, *(like(weight) for weight in _weights(bound) if of_weights)]


def _read(bound: Bound, *more: str) -> int:
    """Bytes of the data and of the weights, which views of one buffer give, where there is one."""
    buffer = bound.tensors("weight_buf") or _weights(bound)
    return total_bytes([*bound.tensors("input", "hx", "cx", *more), *buffer])


def _forward_bytes(bound: Bound, outputs: list[Tensor]) -> tuple[int, int]:
    results = outputs[: 3 if bound.tensor("cx") else 2]
    return _read(bound), total_bytes(results) + (_kept_bytes(bound, outputs[0]) if bound.flag("train") else 0)


def _kept_bytes(bound: Bound, steps: Tensor) -> int:
    """Bytes that a training step keeps for the backward pass; ``steps`` are the results of the last layer."""
    layers = bound.number("num_layers") or 1
    values = _KEPT.get(bound.number("mode") or 0, 1)
    kept = steps.distinct_bytes * (layers * values + layers - 1)
    has_dropout = bound.arguments.get("dropout") not in ("0.", "0", None)
    return kept + (steps.elements * (layers - 1) // 8 if has_dropout else 0)


def _backward_bytes(bound: Bound, outputs: list[Tensor]) -> tuple[int, int]:
    return _read(bound, "output", "grad_output", "grad_hy", "grad_cy", "reserve"), total_bytes(outputs)


def _cell(name: str, operations: int, biased: int) -> Flops:
    """FLOPs of a cell with ``operations`` for each element of the argument ``name``, ``biased`` if it has biases."""

    def flops(bound: Bound, outputs: list[Tensor]) -> int:
        return bound.needed(name).elements * (biased if bound.tensor("input_bias") else operations)

    return flops


def _gru_gradients(bound: Bound) -> list[Tensor]:
    """Gradients of the gates of input and hidden state, of the hidden state, and of both biases."""
    gradient = bound.needed("grad_hy")
    gates = dense((gradient.shape[0], 3 * gradient.shape[1]), gradient.precision)
    biases = [dense((3 * gradient.shape[1],), gradient.precision)] * 2 if bound.flag("has_bias") else []
    return [gates, gates, like(gradient), *biases]


RULES = (
    Rule(("_cudnn_rnn", "miopen_rnn"), _forward_flops, bytes=_forward_bytes),
    Rule(
        ("_cudnn_rnn_backward", "miopen_rnn_backward"), _backward_flops,
        outputs=_backward_outputs, bytes=_backward_bytes,
    ),
    Rule(("_thnn_fused_lstm_cell",), _cell("cx", 13, 21)),
    Rule(("_thnn_fused_lstm_cell_backward_impl",), _cell("cx", 23, 23)),
    Rule(("_thnn_fused_gru_cell",), _cell("hx", 10, 16)),
    Rule(("_thnn_fused_gru_cell_backward",), _cell("grad_hy", 16, 16), outputs=_gru_gradients),
)  # fmt: skip
