"""Prices of recurrent networks against counts by hand; the profiler records no element types of a list of weights."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ridgeline.analyze.pricing.cost import Price
from ridgeline.analyze.pricing.price import price
from ridgeline.analyze.pricing.signature import parse

# an LSTM of two layers: 5 sequences of 3 steps, 4 values each, 6 hidden
LSTM = [[24, 4], [24, 6], [24], [24], [24, 6], [24, 6], [24], [24]]
GRU = [[18, 4], [18, 6], [18], [18]]
WEIGHTS = 24 * (4 + 6 + 6 + 6) + 4 * 24
PRODUCTS = 2 * 15 * 24 * (4 + 6 + 6 + 6)
NUMBERS = {
    "mode": "2", "hidden_size": "6", "proj_size": "0", "num_layers": "2", "batch_first": "True", "dropout": "0.",
    "train": "True", "bidirectional": "False", "batch_sizes": "[]",
}  # fmt: skip


def priced(name: str, tensors: list[Any], numbers: dict[str, str], *more: Any) -> Price:
    """The price of a call: tensors, lists of tensors and None, then concrete values, then more of either."""
    values = [*tensors, *numbers.values(), *more]
    dims, types, concrete = [], [], []
    for value in values:
        is_list = isinstance(value, list) and value and isinstance(value[0], list)
        dims.append(value if isinstance(value, list) else [])
        types.append(
            "TensorList" if is_list else "float" if isinstance(value, list) else "" if value is None else "Scalar"
        )
        concrete.append(value if isinstance(value, str) else "")
    texts = [json.dumps(column).encode() for column in (dims, types, [], concrete)]
    return price(parse((f"aten::{name}", *texts)))  # type: ignore[arg-type]


def forward(numbers: dict[str, str], weights: list[list[int]] = LSTM, cell: list[int] | None = None) -> Price:
    states = [int(numbers.get("num_layers", "2")), 5, 6]
    elements = sum(a * (b[0] if b else 1) for a, *b in weights)
    tensors = [[5, 3, 4], weights, "4", [elements], states, states if cell is None else cell or None]
    return priced("_cudnn_rnn", tensors, NUMBERS | numbers, None)


def test_every_matrix_multiplies_every_row() -> None:
    # a training step keeps 5 values of both layers and the input of the second
    states = 2 * 5 * 6
    kept = 15 * 6 * (2 * 5 + 1)
    expected = (4 * (15 * 4 + WEIGHTS + 2 * states), 4 * (15 * 6 + 2 * states + kept))
    found = forward({})
    assert (found.flops, found.read_bytes, found.write_bytes) == (PRODUCTS, *expected)
    assert (found.precision, found.confidence) == ("fp32", "high")


@pytest.mark.parametrize(
    ("numbers", "kept"),
    [
        ({"train": "False"}, 0),
        # a bit for each element between the layers
        ({"dropout": "0.10000000000000001"}, 4 * 15 * 6 * 11 + 15 * 6 // 8),
    ],
)
def test_what_a_step_keeps(numbers: dict[str, str], kept: int) -> None:
    assert forward(numbers).write_bytes == 4 * (15 * 6 + 2 * 60) + kept


def test_a_gru_has_no_cell_state_and_keeps_six_values() -> None:
    found = forward({"mode": "3", "num_layers": "1"}, GRU, [])
    assert found.flops == 2 * 15 * 18 * 10
    assert found.write_bytes == 4 * (15 * 6 + 30 + 15 * 6 * 6)


@pytest.mark.parametrize(("of_weights", "times"), [("True", 2), ("False", 1)])
def test_the_backward_pass_always_computes_the_gradients_of_the_data(of_weights: str, times: int) -> None:
    states, steps, reserve = [2, 5, 6], [5, 3, 6], [990]
    tensors = [[5, 3, 4], LSTM, "4", [WEIGHTS], states, states, steps, steps, None, None]
    mask = f"[False, False, False, {of_weights}]"
    found = priced("_cudnn_rnn_backward", tensors, NUMBERS, None, reserve, mask)
    assert found.flops == times * PRODUCTS
    assert found.read_bytes == 4 * (60 + WEIGHTS + 2 * 60 + 2 * 90 + 990)
    assert found.write_bytes == 4 * (60 + 2 * 60 + (WEIGHTS if of_weights == "True" else 0))
    assert found.confidence == "high"


def test_packed_sequences_count_their_own_steps() -> None:
    # 5 sequences of 3, 3, 2, 1 and 1 steps
    numbers = NUMBERS | {"batch_sizes": "[5, 3, 2]", "batch_first": "False"}
    tensors = [[10, 4], LSTM, "4", [WEIGHTS], [2, 5, 6], [2, 5, 6]]
    assert priced("_cudnn_rnn", tensors, numbers, None).flops == PRODUCTS * 10 // 15


@pytest.mark.parametrize(
    ("name", "inputs", "numbers", "flops", "written"),
    [
        ("_thnn_fused_lstm_cell", [[5, 24], [5, 24], [5, 6]], {}, 13 * 30, 2 * 30 + 120),
        ("_thnn_fused_lstm_cell", [[5, 24], [5, 24], [5, 6], [24], [24]], {}, 21 * 30, 2 * 30 + 120),
        ("_thnn_fused_gru_cell", [[5, 18], [5, 18], [5, 6]], {}, 10 * 30, 30 + 150),
        ("_thnn_fused_gru_cell_backward", [[5, 6], [5, 30]], {"has_bias": "True"}, 16 * 30, 2 * 90 + 30 + 2 * 18),
    ],
)
def test_cells(name: str, inputs: list[Any], numbers: dict[str, str], flops: int, written: int) -> None:
    found = priced(name, inputs, numbers)
    assert (found.flops, found.write_bytes, found.confidence) == (flops, 4 * written, "high")
