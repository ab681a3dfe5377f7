"""Prices of signatures: by rules of our own in this process, else by a child that asks PyTorch.

In a child no operator can crash, hang or fill this process. An operator that ends the child, or exceeds the time limit,
loses its own price and no other: it is priced from its recorded inputs, with low confidence, and a new child prices the
rest. The child runs :mod:`ridgeline.analyze.pricing.pricer_process`. It starts when PyTorch must be asked, and stays
until the pricer's context is left: a first look at a trace of common operators never imports PyTorch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ridgeline.analyze.errors import AnalyzeError
from ridgeline.analyze.pricing.cost import Price, from_inputs
from ridgeline.analyze.pricing.pricer_process import OUT_OF_MEMORY, SPARE_BYTES
from ridgeline.analyze.pricing.signature import parse
from ridgeline.analyze.reading.columns import Signature
from ridgeline.analyze.resources.limits import in_words
from ridgeline.child_process import Child, ChildEnded

LIMIT_S = 20.0
"""Time limit of an operator: on the meta device it takes milliseconds, and for its imports, once, a few seconds."""
START_LIMIT_S = 300.0
"""Time limit of importing PyTorch: from a cold network disk it takes a minute."""
MOST_RESTARTS = 8
"""Restarts of the child for the signatures of one run; later signatures are not asked for."""
UNASKED = f"was not asked after it had ended {MOST_RESTARTS + 1} times"
MISSING = "cannot be imported here"
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

    def expect(self, operators: Iterable[str]) -> None:
        """Start the child if one of the operators needs it, so that it imports PyTorch while a trace is decoded."""
        from ridgeline.analyze.pricing.price import needs_pytorch  # late: decoders start before the rules are imported

        if any(map(needs_pytorch, operators)):
            self.start()

    def price(self, signatures: Iterable[Signature]) -> list[Answer]:
        """Return an answer for each signature, in order.

        Raises :class:`PricingError` if the child ends, or is silent for ``START_LIMIT_S``, before it has imported
        PyTorch.
        """
        signatures = list(signatures)
        here = []
        for signature in signatures:
            here.append(self._answered_here(signature))
            if here[-1] is None:  # PyTorch is imported while the others are answered here
                self.start()
        asked = self._answered_there(s for s, answer in zip(signatures, here, strict=True) if answer is None)
        return [answer or next(asked) for answer in here]

    def _answered_here(self, signature: Signature) -> Answer | None:
        """Return the answer that needs no PyTorch, None if it must be asked."""
        from ridgeline.analyze.pricing.price import Unanswered, leave_open, price

        try:
            return Answer(price(parse(signature), leave_open))
        except Unanswered:
            return None

    def _answered_there(self, signatures: Iterable[Signature]) -> Iterator[Answer]:
        """Yield the child's answer for each signature, or the price by recorded inputs and why it gave none."""
        ended, unasked = 0, None
        for signature in signatures:
            cut_short = unasked
            if unasked is None:
                try:
                    answer = Answer(self._ask(signature))
                except ImportError:
                    cut_short = unasked = MISSING
                except ChildEnded as e:
                    oom = e.exit_code == OUT_OF_MEMORY
                    cut_short = f"needed more than {in_words(SPARE_BYTES)} of memory" if oom else str(e)
                    ended += 1
                    unasked = UNASKED if ended > MOST_RESTARTS else None
            if cut_short:
                answer = Answer(from_inputs(parse(signature)).in_doubles(), cut_short)
            yield answer

    def _ask(self, signature: Signature) -> Price:
        """Return the child's price. Raises as :meth:`price`, ``ImportError`` and :class:`ChildEnded`."""
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
            answer: Price = self._child.receive(self._limit_s)
        except BaseException:  # a late answer would be taken for the next signature's
            self._kill()
            raise
        return answer

    def _kill(self) -> None:
        if self._child:
            self._child.kill()
        self._child, self._is_ready = None, False
