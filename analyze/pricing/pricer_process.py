"""What a pricer process runs: read signatures, answer each with its price, a line of JSON for each.

The first line it says is ``null``, once PyTorch is there, or why it is not: ``[module, message]``. From then on it may
hold a bounded amount of memory more. What PyTorch itself prints goes nowhere.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO

import msgspec

from ridgeline.analyze.reading.columns import Signature

SPARE_BYTES = 1 << 30
"""Of address space, beyond what it has when PyTorch is imported."""
OUT_OF_MEMORY = errno.ENOMEM
"""Its exit code where an operator needed more."""
LONGEST_S = 600
"""For anything: after this an orphan ends whose thread cannot see that its parent is gone, since an operator keeps the
interpreter to itself."""

_WARM: tuple[Signature, ...] = (
    ("aten::mm", b"[[4, 4], [4, 4]]", b'["float", "float"]', b"", b'["", ""]'),
    ("aten::cos", b"[[4, 4]]", b'["float"]', b"", b'[""]'),
)
"""Have PyTorch import what it imports on first use: eight hundred modules, which no operator's time is to hold."""


def main() -> None:
    """Serve until the pipe of signatures closes: nobody is left to answer then, and what is under way is dropped."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(LONGEST_S)
    signatures: SimpleQueue[Signature] = SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, signatures), name="signatures", daemon=True).start()
    answers = _only_voice()
    try:
        from ridgeline.analyze.pricing.price import price_all

        price_all(_WARM)
    except Exception as e:
        _say(answers, ((e.name if isinstance(e, ImportError) else None) or "torch", str(e)))
        return
    _bound_memory()
    _say(answers, None)
    while True:
        signal.alarm(0)
        signature = signatures.get()
        signal.alarm(LONGEST_S)
        try:
            (price,) = price_all([signature])
        except MemoryError:
            os._exit(OUT_OF_MEMORY)  # whatever it holds by now goes with it
        _say(answers, price.in_doubles())


def encode(signature: Signature) -> bytes:
    """A line; a name may be what is no text."""
    name, *recorded = signature
    return msgspec.json.encode([name.encode("utf-8", "surrogatepass"), *recorded]) + b"\n"


def _decode(line: bytes) -> Signature:
    name, *recorded = msgspec.json.decode(line, type=tuple[bytes, bytes, bytes, bytes, bytes])
    dims, types, strides, concrete = recorded
    return (name.decode("utf-8", "surrogatepass"), dims, types, strides, concrete)


def _listen(file: BinaryIO, signatures: SimpleQueue[Signature]) -> None:
    """Queue what is asked for; where that ends, however the parent ended, end this process."""
    with suppress(msgspec.MsgspecError):  # cut off as it was written
        for line in file:
            signatures.put(_decode(line))
    os._exit(0)


def _only_voice() -> BinaryIO:
    """Standard output for answers alone: what libraries print on it, or on standard error, goes nowhere."""
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    return answers


def _say(answers: BinaryIO, what: Any) -> None:
    try:
        answers.write(msgspec.json.encode(what) + b"\n")
        answers.flush()
    except BrokenPipeError:
        os._exit(1)


def _bound_memory() -> None:
    """Where the system says what this process has."""
    with suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most_bytes = pages * resource.getpagesize() + SPARE_BYTES
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (most_bytes, hard))
