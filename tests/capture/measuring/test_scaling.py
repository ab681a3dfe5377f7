"""A whole model's step times from a subset of its layers."""

import pytest

from ridgeline.capture.measuring.scaling import extrapolate
from ridgeline.capture.records import Timing


def steps(kind: str, *values_ns: int) -> list[Timing]:
    return [
        Timing(metric="step", phase="decode", kind=kind, step=index, repeat=0, value_ns=value_ns, started_ns=0)
        for index, value_ns in enumerate(values_ns)
    ]


@pytest.mark.parametrize(("head_ns", "layer_ns"), [(0, 7), (1000, 40), (250, 0)])
def test_a_line_through_two_depths_finds_the_third(head_ns: int, layer_ns: int) -> None:
    deep = steps("decode", *[head_ns + 16 * layer_ns] * 3) + steps("prefill", head_ns + 160 * layer_ns)
    shallow = steps("decode", head_ns + 8 * layer_ns) + steps("prefill", head_ns + 80 * layer_ns)
    scaled = extrapolate(deep, shallow, layers=16, other_depth=8, of=80)
    assert scaled.step_ns == {"decode": head_ns + 80 * layer_ns, "prefill": head_ns + 800 * layer_ns}
    assert (scaled.layers, scaled.other_depth, scaled.of) == (16, 8, 80)


def test_medians_are_taken_of_steps_alone() -> None:
    deep = steps("decode", 100, 120, 900)
    other = Timing(metric="end_to_end", phase=None, kind=None, step=None, repeat=0, value_ns=10**9, started_ns=0)
    scaled = extrapolate([*deep, other], steps("decode", 60, 80, 70), layers=4, other_depth=2, of=6)
    assert scaled.step_ns == {"decode": 170}


def test_a_kind_of_step_that_one_depth_did_not_take_is_left_out() -> None:
    deep, shallow = steps("refresh", 80) + steps("reuse", 8), steps("refresh", 40) + steps("commit", 1)
    assert extrapolate(deep, shallow, layers=4, other_depth=2, of=6).step_ns == {"refresh": 120}
