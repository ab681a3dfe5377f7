"""Shapes: the parameter counts of the published models, by formula and as built."""

import pytest
import torch

from capture import models
from capture.footprint import predict
from capture.presets import PRESETS

from .conftest import make_point

COUNTS = {"llama-3-8b": 8_030_261_248, "llada-8b": 8_015_581_184}


@pytest.mark.parametrize("name", PRESETS)
def test_parameters_as_built(name: str) -> None:
    shape = PRESETS[name]
    network = models.empty(shape, torch.bfloat16, torch.device("meta"), capacity=32)
    built = sum(weight.numel() for weight in network.parameters())
    assert built == shape.parameters == COUNTS.get(name, built)


def test_layers_of_both_8b_shapes_are_the_same_size() -> None:
    assert PRESETS["llama-3-8b"].layer_parameters == PRESETS["llada-8b"].layer_parameters == 218_103_808


@pytest.mark.parametrize(("name", "expected"), [("llama-3-8b", 131_072), ("llada-8b", 524_288)])
def test_cache_bytes_of_a_token(name: str, expected: int) -> None:
    assert 2 * PRESETS[name].cache_elements(1) == expected


def test_predicted_memory_of_weights_and_cache_is_what_is_made() -> None:
    point = make_point(model="tiny-llama", mode="ar", batch=3)
    footprint = predict(point)
    decoder = models.random(PRESETS["tiny-llama"], torch.float32, torch.device("cpu"), capacity=28, seed=0)
    buffers = sum(buffer.nbytes for buffer in decoder.network.buffers())
    assert footprint.weights_bytes == decoder.nbytes - buffers
    assert footprint.cache_bytes == decoder.cache(batch=3, capacity=point.length).nbytes


def test_a_full_forward_needs_logits_of_every_position() -> None:
    point = make_point(model="llada-8b", mode="dlm_full", prompt_tokens=1024, generated_tokens=128, dtype="bf16")
    assert predict(point).cache_bytes == 0
    assert predict(point).activations_bytes > 1152 * 126464 * (2 + 4)
