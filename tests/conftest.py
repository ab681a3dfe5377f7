"""What holds for all tests: PyTorch is asked for prices in this process, which imports it once.

Tests of `capture` run where what `analyze` needs is not installed, as on a bare GPU machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from analyze.columns import Signature
    from analyze.pricing.pricer import Answer, Pricer


def _start(self: Pricer) -> None:
    """There is no child."""


def _price(self: Pricer, signatures: Iterable[Signature]) -> list[Answer]:
    from analyze.pricing.price import price_all
    from analyze.pricing.pricer import Answer

    return [Answer(price.in_doubles()) for price in price_all(signatures)]


@pytest.fixture(autouse=True, scope="session")
def _priced_here() -> Iterator[pytest.MonkeyPatch]:
    """A child for each warehouse that a test makes would take hours."""
    with pytest.MonkeyPatch.context() as patch:
        if find_spec("duckdb"):
            from analyze.pricing.pricer import Pricer

            patch.setattr(Pricer, "start", _start)
            patch.setattr(Pricer, "price", _price)
        yield patch


@pytest.fixture
def pricer_process(_priced_here: pytest.MonkeyPatch) -> Iterator[None]:
    """For tests of the child itself."""
    from analyze.pricing.pricer import Pricer

    _priced_here.undo()
    yield
    _priced_here.setattr(Pricer, "start", _start)
    _priced_here.setattr(Pricer, "price", _price)
