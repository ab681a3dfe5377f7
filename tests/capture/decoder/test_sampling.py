"""Sampling: confidence, noise, and which positions commit, against rules written out in Python."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ridgeline.capture.decoder.sampling import Sampler, guided, largest
from tests.capture.conftest import make_point


def sampler(**keys: Any) -> Sampler:
    point = make_point(model="tiny-llada", mode="dlm_full", **keys)
    return Sampler(point, torch.float32)


@pytest.mark.parametrize("vocabulary", [1, 7, 4096, 4099, 12648])
def test_the_largest_is_found_in_parts(vocabulary: int) -> None:
    logits = torch.randn(2, 3, vocabulary).bfloat16().float()  # Coarse, so that some are equal.
    top, places = largest(logits)
    assert torch.equal(top, logits.amax(-1))
    assert torch.equal(places, logits.argmax(-1))


@pytest.mark.parametrize(
    ("sampling", "dtype"), [("model", torch.float32), ("fp32", torch.float32), ("fp64", torch.float64)]
)
def test_confidence_is_the_softmax_of_the_likeliest(sampling: str, dtype: torch.dtype) -> None:
    logits = 5 * torch.randn(2, 5, 4096)
    confidence, tokens = sampler(sampling=sampling).choose(logits)
    expected = logits.to(dtype).softmax(-1).max(-1)
    assert confidence.dtype == dtype
    assert torch.equal(tokens, expected.indices)
    torch.testing.assert_close(confidence, expected.values)


def test_at_a_temperature_tokens_are_drawn_as_often_as_their_probability_says() -> None:
    torch.manual_seed(0)
    logits = torch.tensor([0.0, 1.0, 2.0, -1.0]).expand(1, 40_000, 4)
    confidence, tokens = sampler(temperature=1.0, sampling="fp64").choose(logits)
    shares = torch.bincount(tokens[0], minlength=4) / 40_000
    torch.testing.assert_close(shares, logits[0, 0].softmax(-1), rtol=0, atol=0.01)
    torch.testing.assert_close(confidence[0], logits[0, 0].double().softmax(-1)[tokens[0]])


@pytest.mark.parametrize(
    ("sampling", "dtype"), [("fp64", torch.float64), ("fp32", torch.float32), ("model", torch.bfloat16)]
)
def test_noise_is_of_the_precision_asked_for(
    sampling: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[torch.dtype] = []
    real = torch.rand_like
    monkeypatch.setattr(torch, "rand_like", lambda like: (drawn.append(like.dtype), real(like))[1])
    point = make_point(model="tiny-llada", mode="dlm_full", sampling=sampling, temperature=0.5, dtype="bf16")
    drawer = Sampler(point, torch.bfloat16)
    drawer.choose(torch.randn(1, 4, 64, dtype=torch.bfloat16))
    drawer.draw(torch.randn(1, 4, 64, dtype=torch.bfloat16))
    assert drawn == [dtype, dtype]


def test_random_remasking_keeps_the_tokens_and_not_the_confidence() -> None:
    logits = torch.randn(1, 500, 64)
    confidence, tokens = sampler(remasking="random").choose(logits)
    assert torch.equal(tokens, logits.argmax(-1))
    assert abs(confidence.mean() - 0.5) < 0.1
    assert not torch.allclose(confidence, logits.softmax(-1).amax(-1))


def brute(confidence: list[float], masked: list[bool], rule: str, value: float) -> set[int]:
    """The positions that commit, by the definitions."""
    order = sorted((i for i, open_ in enumerate(masked) if open_), key=lambda i: (-confidence[i], i))
    if not order:
        return set()
    if rule == "count":
        return set(order[: int(value)])
    if rule == "threshold":
        return {order[0]} | {i for i in order if confidence[i] >= value}
    failing = [n for n in range(2, len(order) + 1) if confidence[order[n - 1]] < 1 - value / (n + 1)]
    sure = failing[0] - 1 if failing else len(order)
    return set(order[: sure + 1] if sure == len(order) - 1 else order[:sure])


def test_a_factor_passes_over_a_failure_of_the_last() -> None:
    """As the published loop does, which cannot tell a failure there from having come to the end."""
    accepted = sampler(factor=1.0).accept(
        torch.tensor([[0.9, 0.9, 0.1]]), torch.ones(1, 3, dtype=torch.bool), torch.tensor(0)
    )
    assert accepted[0].tolist() == [True, True, True]


def test_a_confidence_that_just_reaches_its_level_is_sure() -> None:
    accepted = sampler(factor=1.5).accept(
        torch.tensor([[0.9, 0.5, 0.1, 0.1]]), torch.ones(1, 4, dtype=torch.bool), torch.tensor(0)
    )
    assert accepted[0].tolist() == [True, True, False, False]


@given(
    st.lists(st.tuples(st.integers(0, 16), st.booleans()), min_size=8, max_size=8),
    st.sampled_from(["count", "threshold", "factor"]),
    st.integers(0, 16),
)
def test_acceptance_is_what_its_definition_says(cells: list[tuple[int, bool]], rule: str, level: int) -> None:
    confidence, masked = [c / 16 for c, _ in cells], [m for _, m in cells]
    value = {"count": level % 9, "threshold": max(level, 1) / 16, "factor": 0.25 + level / 8}[rule]
    keys: dict[str, Any] = {} if rule == "count" else {rule: value}
    accepted = sampler(**keys).accept(
        torch.tensor([confidence], dtype=torch.float64), torch.tensor([masked]), torch.tensor(int(value))
    )
    assert set(accepted[0].nonzero()[:, 0].tolist()) == brute(confidence, masked, rule, value)


def test_guidance_moves_away_from_the_unconditioned() -> None:
    both = torch.tensor([[3.0, 1.0], [1.0, 1.5]])
    assert guided(both, 0.5).tolist() == [[4.0, 0.75]]
    assert guided(both, 0.0).tolist() == [[3.0, 1.0]]


def test_a_draw_without_temperature_is_the_likeliest() -> None:
    logits: Tensor = torch.randn(3, 1, 4096)
    assert torch.equal(sampler().draw(logits), logits.argmax(-1))
    assert math.isclose(float(sampler().choose(logits)[0][0, 0]), float(logits[0, 0].softmax(-1).max()), rel_tol=1e-5)


@pytest.mark.parametrize(("sampling", "dtype"), [("model", torch.bfloat16), ("fp32", torch.float32)])
def test_softmax_is_of_the_precision_asked_for_whatever_the_model_s(sampling: str, dtype: torch.dtype) -> None:
    point = make_point(model="tiny-llada", mode="dlm_full", sampling=sampling, dtype="bf16")
    confidence, _ = Sampler(point, torch.bfloat16).choose(torch.randn(1, 4, 64, dtype=torch.bfloat16))
    assert confidence.dtype == dtype
