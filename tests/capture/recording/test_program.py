"""What a recorded program's modules and facts tell."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from ridgeline.capture.errors import CaptureError
from ridgeline.capture.recording import program


def test_weights_that_modules_share_count_once() -> None:
    first, second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    second.weight = first.weight
    norm = nn.BatchNorm1d(4)  # 2 parameters and 2 buffers of 4, and an int64
    assert program.weights_bytes([first, second, norm]) == 4 * 16 + 4 * 4 * 4 + 8
    assert program.model_of([first, second, norm]) == {"name": "Linear", "parameters": 16 + 8}


def test_the_model_is_the_largest_module() -> None:
    assert program.model_of([nn.Linear(2, 2), nn.Bilinear(2, 2, 2)]) == {"name": "Bilinear", "parameters": 6 + 10}


def test_a_wrapper_is_not_the_model() -> None:
    class Parallel(nn.Module):
        """As DistributedDataParallel passes arguments on."""

        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self.module = module

        def forward(self, *inputs: torch.Tensor, **keywords: torch.Tensor) -> torch.Tensor:
            return self.module(*inputs, **keywords)  # type: ignore[no-any-return]

    wrapped: Any = torch.compile(Parallel(nn.Linear(2, 2)), backend="eager")
    assert program.model_of([wrapped]) == {"name": "Linear", "parameters": 6}


def test_modules_without_shapes_yet_are_left_out() -> None:
    lazy = nn.LazyLinear(4)
    assert program.model_of([lazy]) == {"name": "LazyLinear", "parameters": 0}
    assert program.weights_bytes([lazy]) == 0
    assert program.dtype_of([lazy]) is None


def test_the_dtype_is_that_of_most_parameters() -> None:
    net = nn.Sequential(nn.Linear(8, 8).to(torch.bfloat16), nn.LayerNorm(8))
    assert program.dtype_of([net]) == "bf16"
    assert program.dtype_of([]) is None


def test_values_of_a_label_are_words() -> None:
    step = program.step_of("my  decode", None, 3, {"query": 4, "note": " a b\n", "empty": "", "absent": None})
    assert step.label == "phase=my_decode step=3 kind=my_decode query=4 note=a_b empty=_"


@pytest.mark.parametrize("facts", [{"tokens": 1.5}, {"batch": True}, {"mode": 3}])
def test_a_known_fact_of_another_type_is_refused(facts: dict[str, object]) -> None:
    with pytest.raises(CaptureError, match="expected a"):
        program.checked(facts)
