"""Predictions of the two 8B models, which several test modules make."""

from __future__ import annotations

from typing import Any

from ridgeline.analyze.theory.closed_forms import Component, Convention
from ridgeline.analyze.theory.generation import Prediction, predict
from ridgeline.capture.configuration import points as configuration
from ridgeline.capture.configuration.forecast.roofs import Roofs
from ridgeline.capture.configuration.point import Point
from ridgeline.capture.configuration.presets import PRESETS

LLAMA, LLADA = PRESETS["llama-3-8b"], PRESETS["llada-8b"]
ROOFS = Roofs(of="a device", compute={"bf16": 100e12, "fp32": 10e12}, bytes_per_s=1e12)


def one(predictions: list[Prediction], kind: str, component: Component) -> Prediction:
    (found,) = (each for each in predictions if (each.kind, each.component) == (kind, component))
    return found


def llama(prompt: int, convention: Convention = "as_authored") -> list[Prediction]:
    """A prefill and the one decoding step after it."""
    return predict(LLAMA, mode="ar", prompt=prompt, generate=2, convention=convention)


def llada(length: int, convention: Convention = "as_authored") -> Prediction:
    predictions = predict(LLADA, mode="dlm_full", prompt=length - 32, generate=32, convention=convention)
    return one(predictions, "denoise", "all")


def point(**values: Any) -> Point:
    (found,) = configuration.points({"model": "tiny-llada", "prompt_tokens": 48, "generated_tokens": 32, **values})
    return found
