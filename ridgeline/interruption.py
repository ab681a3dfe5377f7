"""Ctrl-C and its kin: the command unwinds, so that nothing half-made stays, and is gone within seconds in any case.

A signal's handler raises :class:`Interrupted` in the main thread, once no import is under way there: native modules
abort at an exception then. Where that does not end the command, since native code runs or something swallowed the
exception, a thread ends the process: what is stored is whole at any moment.

It imports next to nothing: until it is there, a signal ends in Python's own words.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE_S = 3.0
"""Seconds that unwinding may take."""

_RETRY_S = 0.02

LINE = "ridgeline: interrupted: what was complete is kept, the rest is not there: run the same command again for it"

_line = LINE
_code: int | None = None
"""With which the command is to end."""


class Interrupted(SystemExit):
    """A signal ended the command; its code is what a shell says of one: 128 and the signal's number."""


def end_at_once() -> None:
    """From now on a signal ends the process at once: there is nothing to take back yet."""
    _handle_by(lambda number, _: _end(128 + number))


def unwind() -> None:
    """From now on a signal unwinds the command, and ends it after `GRACE_S` where that has not."""
    from threading import Thread

    heard, told = os.pipe()
    os.set_blocking(told, False)
    # Python's own handlers wait for the main thread, which native code may keep for minutes.
    signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    Thread(target=_insist, args=(heard,), name="interruption", daemon=True).start()
    sys.unraisablehook = _swallowed
    signal.signal(signal.SIGALRM, _raise)
    _handle_by(_raise)


def give_up(line: str, code: int) -> None:
    """Unwind the command as a signal would, with another line and code; for another thread than the main one."""
    global _line, _code
    if _code is None:
        _line, _code = line, code
    os.kill(os.getpid(), signal.SIGALRM)


def end() -> None:
    """End the process now, as it was to end."""
    _end(1 if _code is None else _code)


def check() -> None:
    """Raise :class:`Interrupted` if a signal came: native code may have made another error of it."""
    if _code is not None:
        raise Interrupted(_code)


def say() -> None:
    """The last line on stderr, on a terminal with the cursor that progress hides."""
    try:
        restore = "\r\x1b[K\x1b[?25h" if os.isatty(2) else ""
        os.write(2, f"{restore}{_line}\n".encode())
    except OSError:  # nobody listens
        return


def _handle_by(handler: Callable[[int, FrameType | None], None]) -> None:
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # `nohup` and a shell's `&` mean it
            signal.signal(number, handler)


def _raise(number: int, frame: FrameType | None) -> None:
    """Unwind, or try again in a moment; further signals find that under way."""
    global _code
    if _code is None:
        _code = 128 + number
    elif number != signal.SIGALRM:
        return
    if _imports(frame):
        signal.setitimer(signal.ITIMER_REAL, _RETRY_S)
    else:
        check()


def _imports(frame: FrameType | None) -> bool:
    """Whether an import is among the callers."""
    while frame is not None and frame.f_code.co_filename != "<frozen importlib._bootstrap>":
        frame = frame.f_back
    return frame is not None


def _insist(heard: int) -> None:
    """Wait for a signal, then end the process unless that happens by itself."""
    from time import sleep

    while (number := os.read(heard, 1)[0]) not in SIGNALS:
        pass
    sleep(GRACE_S)
    _end(128 + number)


def _swallowed(found: sys.UnraisableHookArgs) -> None:
    """End where Python cannot pass the exception on: it was raised in a destructor, for example."""
    if isinstance(found.exc_value, Interrupted):
        end()
    sys.__unraisablehook__(found)


def _end(code: int) -> None:
    say()
    os._exit(code)
