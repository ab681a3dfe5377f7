"""How much of a sweep runs: a sample in ``make test``, all of it in ``make test-exhaustive``.

``tests/conftest.py`` sets :data:`exhaustive` from ``pytest --exhaustive`` before any test module is imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from hypothesis import settings

Item = TypeVar("Item")

exhaustive = False

EXAMPLES = {
    # cost of one example: examples in make test, in make test-exhaustive
    "microseconds": (50, 250),
    "milliseconds": (15, 60),
    "warehouse": (4, 60),
}
"""Examples of a property, by what one example costs."""


def every(step: int, items: Sequence[Item], also: Iterable[int] = ()) -> list[Item]:
    """Every ``step``-th item and those at the positions ``also``, in order; all items in an exhaustive run."""
    if exhaustive:
        return list(items)
    positions = {*range(0, len(items), step), *(at for at in also if 0 <= at < len(items))}
    return [items[at] for at in sorted(positions)]


def pick(sampled: int, everything: int) -> int:
    """The first number in ``make test``, the second in an exhaustive run."""
    return everything if exhaustive else sampled


def examples(cost: str) -> settings:
    """Hypothesis settings for a property, one example of which costs as ``EXAMPLES`` says."""
    from hypothesis import HealthCheck, settings  # not there on a bare GPU machine

    return settings(
        max_examples=pick(*EXAMPLES[cost]),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
