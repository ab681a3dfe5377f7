"""Prices by a pricer process: PyTorch is asked in a child, so that no operator can crash, hang or fill this process.

An operator that ends its child, or says nothing for too long, costs its own price and no other: it is priced from its
recorded inputs, with low confidence, and a new child goes on with the rest. The child is a plain Python process that
runs ``ridgeline.analyze.pricing.pricer_process``; it is started when there is something to price, stays for more, and
ends with its pricer, or with this process, however that ends.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from time import monotonic
from typing import NamedTuple

import msgspec

from ridgeline import IMPORT_ROOT
from ridgeline.analyze.errors import AnalyzeError
from ridgeline.analyze.pricing.cost import Price, from_inputs
from ridgeline.analyze.pricing.pricer_process import OUT_OF_MEMORY, SPARE_BYTES, encode
from ridgeline.analyze.pricing.signature import parse
from ridgeline.analyze.reading.columns import Signature
from ridgeline.analyze.resources.memory_limit import in_words

LIMIT_S = 10.0
"""How long an operator may take: on the meta device it takes milliseconds."""
START_LIMIT_S = 300.0
"""How long PyTorch may take to be imported: from a cold network disk it takes a minute."""
MOST_RESTARTS = 8
"""For the signatures of one run: what is left after that many is not asked for."""
UNASKED = f"was not asked after it had ended {MOST_RESTARTS + 1} times"
PROGRAM = "from ridgeline.analyze.pricing.pricer_process import main; main()"


class PricingError(AnalyzeError):
    """PyTorch did not come up in the child."""


class Answer(NamedTuple):
    """A price, as the warehouse stores it, and why PyTorch was not heard, where it was cut short or not asked."""

    price: Price
    cut_short: str | None = None


class Pricer:
    """Prices signatures nobody has priced yet; leaving the context ends its child. For one thread at a time."""

    def __init__(self, limit_s: float | None = None, start_limit_s: float = START_LIMIT_S) -> None:
        self._limit_s = LIMIT_S if limit_s is None else limit_s
        self._start_limit_s = start_limit_s
        self._child: _Child | None = None

    def __enter__(self) -> Pricer:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def start(self) -> None:
        """Start the child, if there is none, without waiting for it: something will be to price soon."""
        if self._child and not self._child.runs:  # it ended with nothing to do: no signature's fault
            self._end()
        self._child = self._child or _Child(self._start_limit_s)

    def price(self, signatures: Iterable[Signature]) -> list[Answer]:
        """An answer for each, in order.

        Raises ``ImportError`` as the child does, without PyTorch, and :class:`PricingError` if the child ends, or says
        nothing for ``START_LIMIT_S``, before it has PyTorch.
        """
        answers: list[Answer] = []
        ended = 0
        for signature in signatures:
            if ended > MOST_RESTARTS:
                answers.append(_unheard(signature, UNASKED))
                continue
            try:
                answers.append(Answer(self._ask(signature)))
            except _Ended as e:
                ended += 1
                answers.append(_unheard(signature, str(e)))
        return answers

    def _ask(self, signature: Signature) -> Price:
        self.start()
        assert self._child
        try:
            self._child.wait_until_ready()
            return self._child.price(signature, self._limit_s)
        except BaseException:  # an answer that comes after all would be taken for the next one's
            self._end()
            raise

    def _end(self) -> None:
        if self._child:
            self._child.end()
            self._child = None


def _unheard(signature: Signature, why: str) -> Answer:
    return Answer(from_inputs(parse(signature)).in_doubles(), why)


class _Ended(Exception):
    """The child ended, or had to be; says how, of PyTorch."""


class _Child:
    def __init__(self, start_limit_s: float) -> None:
        path = os.pathsep.join(p for p in (str(IMPORT_ROOT), os.environ.get("PYTHONPATH", "")) if p)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path},
            process_group=0,  # of its own: Ctrl-C is the parent's to handle, whose end ends it
        )
        assert self._process.stdin
        assert self._process.stdout
        self._signatures, self._answers = self._process.stdin, self._process.stdout
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._answers, selectors.EVENT_READ)
        self._start_limit_s = start_limit_s
        self._is_ready = False

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def wait_until_ready(self) -> None:
        if self._is_ready:
            return
        try:
            missing = msgspec.json.decode(self._line(self._start_limit_s), type=tuple[str, str] | None)
        except _Ended as e:
            raise PricingError(
                f"PyTorch {e} as it was imported, to price what was not priced before: see that "
                "`python -c 'import torch'` works here, and run the same command again"
            ) from None
        if missing:
            name, message = missing
            raise ImportError(message, name=name)
        self._is_ready = True

    def price(self, signature: Signature, limit_s: float) -> Price:
        try:
            self._signatures.write(encode(signature))
            self._signatures.flush()
        except BrokenPipeError:
            raise _Ended(self._how()) from None
        try:
            return msgspec.json.decode(self._line(limit_s), type=Price)
        except msgspec.MsgspecError:
            raise _Ended("answered what is no price") from None

    def _line(self, limit_s: float) -> bytes:
        """What it says next."""
        latest_s, said = monotonic() + limit_s, b""
        while not said.endswith(b"\n"):
            if not self._selector.select(max(0.0, latest_s - monotonic())):
                raise _Ended(f"said nothing for {limit_s:g} seconds")
            block = os.read(self._answers.fileno(), 1 << 16)
            if not block:
                raise _Ended(self._how())
            said += block
        return said

    def _how(self) -> str:
        """It has ended, as its pipes have."""
        try:
            code = self._process.wait(self._start_limit_s)
        except subprocess.TimeoutExpired:
            return "closed its pipes"
        if code == OUT_OF_MEMORY:
            return f"needed more than {in_words(SPARE_BYTES)} of memory"
        if code >= 0:
            return f"ended with exit code {code}"
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        return f"was killed by {name} (out of memory?)" if code == -signal.SIGKILL else f"crashed with {name}"

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._selector.close()
        self._answers.close()
        with suppress(BrokenPipeError):
            self._signatures.close()
