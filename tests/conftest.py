"""What holds for all tests: PyTorch is asked for prices in this process, which imports it once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from analyze.columns import Signature
from analyze.pricing.pricer import Answer, Pricer

_START, _PRICE = Pricer.start, Pricer.price


def _start(self: Pricer) -> None:
    """There is no child."""


def _price(self: Pricer, signatures: Iterable[Signature]) -> list[Answer]:
    from analyze.pricing.price import price_all

    return [Answer(price.in_doubles()) for price in price_all(signatures)]


@pytest.fixture(autouse=True, scope="session")
def _priced_here() -> Iterator[None]:
    """A child for each warehouse that a test makes would take hours."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pricer, "start", _start)
        patch.setattr(Pricer, "price", _price)
        yield


@pytest.fixture
def pricer_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of the child itself."""
    monkeypatch.setattr(Pricer, "start", _START)
    monkeypatch.setattr(Pricer, "price", _PRICE)
