"""Schedules and windows: labels, counts and the steps that are profiled."""

from collections.abc import Sequence

import pytest

from ridgeline.capture.recording.run_directory import tokens_of
from ridgeline.capture.steps import Step, profiled_window, schedule, tokens_per_step

from .conftest import make_point


def test_ar_prefills_then_decodes() -> None:
    steps = schedule(make_point(model="tiny-llama", mode="ar"))
    assert [step.label for step in steps[:2]] == [
        "phase=prefill step=0 kind=prefill query=16 context=16 tokens=1",
        "phase=decode step=1 kind=decode query=1 context=17 tokens=1",
    ]
    assert (len(steps), steps[-1].context) == (12, 27)


def test_every_full_step_processes_every_position() -> None:
    steps = schedule(make_point(model="tiny-llada", mode="dlm_full", block=6, steps=4))
    assert [(step.block, step.tokens) for step in steps] == [(0, 3), (0, 3), (1, 3), (1, 3)]
    assert {(step.kind, step.query, step.context) for step in steps} == {("denoise", 28, 28)}


def test_a_block_is_refreshed_once_and_then_reused() -> None:
    steps = schedule(make_point(model="tiny-llada", mode="dlm_block_dual", block=4))
    assert [step.kind for step in steps] == 3 * ["refresh", "reuse", "reuse", "reuse"]
    assert steps[5].label == "phase=denoise step=5 block=1 kind=reuse query=4 context=28 tokens=1"
    assert steps[4].label == "phase=denoise step=4 block=1 kind=refresh query=28 context=28 tokens=1"


def test_the_remainder_goes_first() -> None:
    def shares(tokens: int, steps: int) -> list[int | None]:
        keys = {"generated_tokens": tokens, "block": tokens, "steps": steps}
        return tokens_per_step(make_point(model="tiny-llada", mode="dlm_full", **keys))

    assert shares(8, 3) == [3, 3, 2]
    assert shares(4, 4) == [1, 1, 1, 1]


def window_of(*kinds: str) -> list[int]:
    steps = [
        Step(phase="denoise", index=index, kind=kind, query=1, context=1, tokens=1)  # type: ignore[arg-type]
        for index, kind in enumerate(kinds)
    ]
    return profiled_window(steps)


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (["prefill", *9 * ["decode"]], range(3)),
        (9 * ["denoise"], range(3, 5)),
        (3 * ["refresh", "reuse", "reuse", "reuse"], range(4, 7)),
        (4 * ["refresh", "reuse"], range(2, 5)),
        (["prefill", "decode"], range(2)),
        (["prefill"], range(1)),
        (["denoise"], range(1)),
        (["prefill", *2 * [*9 * ["reuse"], "commit"]], [0, 1, 2, 10]),
    ],
)
def test_the_window_has_every_kind_and_the_commonest_twice(kinds: list[str], expected: Sequence[int]) -> None:
    assert window_of(*kinds) == list(expected)


@pytest.mark.parametrize(("guidance", "sequences"), [(0.0, 3), (1.5, 6)])
def test_guidance_processes_each_sequence_twice_and_commits_it_once(guidance: float, sequences: int) -> None:
    point = make_point(model="tiny-llada", mode="dlm_block_dual", block=4, batch=3, guidance=guidance)
    tokens = tokens_of(point, schedule(point), 3 * 12)
    assert tokens["processed"] == sequences * (3 * 28 + 9 * 4)
    assert tokens["attended"] == sequences * (3 * 28 + 9 * 4) * 28
    assert tokens["committed"] == 36
