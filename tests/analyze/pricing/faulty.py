"""A pricer process whose PyTorch is made up, so that it starts at once, and fails at operators that say how."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType

from ridgeline.analyze.pricing import pricer_process
from ridgeline.analyze.pricing.cost import Price
from ridgeline.analyze.pricing.signature import parse
from ridgeline.analyze.reading.columns import Signature

PROGRAM = "from tests.analyze.pricing.faulty import main; main()"
FAULTS: dict[str, Callable[[], object]] = {
    "faulty::abort": os.abort,
    "faulty::segfault": lambda: ctypes.string_at(0),
    "faulty::exit": lambda: os._exit(3),
    "faulty::sleep": lambda: time.sleep(600),
    "faulty::hold": lambda: ctypes.PyDLL(None).sleep(600),  # and no other thread of Python runs
    "faulty::fill": lambda: bytearray(2 << 30),
    "faulty::print": lambda: os.write(1, b"nonsense\n"),
}

mark: Path | None = None
"""A file that says that a faulty operator was asked for."""


def price_all(signatures: Iterable[Signature]) -> list[Price]:
    """As many FLOPs as the first tensor has elements, unless the operator is faulty."""
    calls = [parse(signature) for signature in signatures]
    for call in calls:
        if mark and call.operator in FAULTS:
            mark.touch()
        FAULTS.get(call.operator, bool)()
    return [Price(call.tensors[0].elements, 1, 1, call.precision, False, "tag", "high") for call in calls]


def main() -> None:
    """Serve."""
    made_up = ModuleType("ridgeline.analyze.pricing.price")
    made_up.price_all = price_all  # type: ignore[attr-defined]
    sys.modules |= {made_up.__name__: made_up, "torch": ModuleType("torch")}
    pricer_process.main()
