"""Which pass each step of a launched program is in."""

from __future__ import annotations

from ridgeline.capture.launching.window import PATIENCE_STEPS, FromFirstKind


def passes(plan: FromFirstKind, kinds: str) -> str:
    """The passes of steps of these kinds: s for spare, t for timed, T for traced, w, c, d."""
    letters, until = "", 0
    for number, kind in enumerate(kinds):
        if number >= until:  # as a recording asks
            plan.next(number, kind)
            until = plan.until(number)
            stage = plan.stage(number)
        assert number < until
        letters += "s" if stage.spare else {"traced": "T", "warm_up": "w"}.get(stage.pass_.value, stage.pass_.value[0])
    return letters


def test_windows_begin_with_the_first_kind() -> None:
    assert passes(FromFirstKind(2, 3, 2, 3), "pddddpddddpddddpdddd") == "sstttTTwwwcccddddddd"
    assert passes(FromFirstKind(1, 1, 2, 0), "pddddpdd") == "sttttTTd"
    assert passes(FromFirstKind(0, 0, 1, 1), "ppp") == "Tcd"


def test_a_kind_that_does_not_come_again_is_waited_for_so_long() -> None:
    kinds = "e" + "t" * (PATIENCE_STEPS + 10)
    assert passes(FromFirstKind(1, 2, 3), kinds) == "s" + "t" * (PATIENCE_STEPS + 2) + "TTT" + "d" * 5


def test_a_program_that_ends_earlier_has_its_first_steps() -> None:
    assert passes(FromFirstKind(3, 16, 8), "pdddd") == "ssstt"


def test_nothing_is_traced_before_the_timed_steps_on_cuda() -> None:
    plan = FromFirstKind(2, 3, 2, 3)
    plan.on_cuda = True
    assert passes(plan, "pddddddddpddddpddddd") == "wwtttsswwTTwwwcccddd"
    plan = FromFirstKind(1, 1, 3, 0)
    plan.on_cuda = True
    assert passes(plan, "tttttttt") == "wtsTTTdd"  # the first kind comes at once
    plan = FromFirstKind(1, 0, 1)
    plan.on_cuda = True
    assert passes(plan, "ttt") == "sTd"  # nothing is timed
