"""Prices by a pricer process: a child asks PyTorch, so that no operator can crash, hang or fill this process.

An operator that ends the child, or exceeds the time limit, loses its own price and no other: it is priced from its
recorded inputs, with low confidence, and a new child prices the rest. The child runs
:mod:`ridgeline.analyze.pricing.pricer_process`. It starts when there is something to price and stays until the pricer's
context is left.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ridgeline.analyze.errors import AnalyzeError
from ridgeline.analyze.pricing.cost import Price, from_inputs
from ridgeline.analyze.pricing.pricer_process import OUT_OF_MEMORY, SPARE_BYTES
from ridgeline.analyze.pricing.signature import parse
from ridgeline.analyze.reading.columns import Signature
from ridgeline.analyze.resources.limits import in_words
from ridgeline.child_process import Child, ChildEnded

LIMIT_S = 10.0
"""Time limit of an operator: on the meta device it takes milliseconds."""
START_LIMIT_S = 300.0
"""Time limit of importing PyTorch: from a cold network disk it takes a minute."""
MOST_RESTARTS = 8
"""Restarts of the child for the signatures of one run; later signatures are not asked for."""
UNASKED = f"was not asked after it had ended {MOST_RESTARTS + 1} times"
PROGRAM = "from ridgeline.analyze.pricing.pricer_process import main; main()"


class PricingError(AnalyzeError):
    """PyTorch did not come up in the child."""


class Answer(NamedTuple):
    """A price, as the warehouse stores it, and how PyTorch ended, or that it was not asked; None if it answered."""

    price: Price
    cut_short: str | None = None


class Pricer:
    """Prices signatures that have no stored price; leaving the context kills the child. Not for several threads."""

    def __init__(self, limit_s: float | None = None, start_limit_s: float = START_LIMIT_S) -> None:
        self._limit_s = LIMIT_S if limit_s is None else limit_s
        self._start_limit_s = start_limit_s
        self._child: Child | None = None
        self._is_ready = False

    def __enter__(self) -> Pricer:
        return self

    def __exit__(self, *_: object) -> None:
        self._kill()

    def start(self) -> None:
        """Start the child, if none runs, without waiting until it has imported PyTorch."""
        if self._child and self._child.has_exited():  # while idle: no signature is to blame
            self._kill()
        self._child = self._child or Child(PROGRAM)

    def price(self, signatures: Iterable[Signature]) -> list[Answer]:
        """Return an answer for each signature, in order.

        Raises ``ImportError`` if PyTorch is not installed, and :class:`PricingError` if the child ends, or is silent
        for ``START_LIMIT_S``, before it has imported PyTorch.
        """
        answers: list[Answer] = []
        ended = 0
        for signature in signatures:
            if ended > MOST_RESTARTS:
                answers.append(Answer(from_inputs(parse(signature)).in_doubles(), UNASKED))
                continue
            try:
                answers.append(Answer(self._ask(signature)))
            except ChildEnded as e:
                ended += 1
                oom = e.exit_code == OUT_OF_MEMORY
                how = f"needed more than {in_words(SPARE_BYTES)} of memory" if oom else str(e)
                answers.append(Answer(from_inputs(parse(signature)).in_doubles(), how))
        return answers

    def _ask(self, signature: Signature) -> Price:
        """Return the child's price. Raises as :meth:`price`, and :class:`ChildEnded`."""
        self.start()
        assert self._child
        try:
            if not self._is_ready:
                try:
                    missing: tuple[str, str] | None = self._child.receive(self._start_limit_s)
                except ChildEnded as e:
                    raise PricingError(
                        f"PyTorch {e} while it was imported to price new signatures: check that "
                        "`python -c 'import torch'` works here, then run the same command again"
                    ) from None
                if missing:
                    name, message = missing
                    raise ImportError(message, name=name)
                self._is_ready = True
            self._child.send(signature)
            price: Price = self._child.receive(self._limit_s)
        except BaseException:  # a late answer would be taken for the next signature's
            self._kill()
            raise
        return price

    def _kill(self) -> None:
        if self._child:
            self._child.kill()
        self._child, self._is_ready = None, False
