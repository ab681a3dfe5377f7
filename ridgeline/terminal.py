"""A command's terminal: standard streams, progress, one-line errors, and the end of a command by a signal.

A signal raises :class:`Interrupted` in the main thread, so that the command closes its files and processes. Stored data
needs no more than that, since every write is a transaction or a rename. If the exception does not end the command
within ``GRACE_S``, because native code is running or swallowed it, a thread ends the process.

``python -m ridgeline`` imports this module first. It imports little, so that a signal during start-up is one line too.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import NoReturn, Protocol

from ridgeline.errors import RidgelineError, needed

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE_S = 3.0
"""Seconds that the command has to end after a signal."""
INTERRUPTED = "ridgeline: interrupted: completed work was saved; run the same command again to continue"
_RETRY_S = 0.02
_IMPORTLIB = "<frozen importlib._bootstrap>"

STORAGE_ERRORS = ("Error", "IOException", "SerializationException", "FatalException", "InternalException")
"""Exact types of the exceptions that DuckDB raises for files that are damaged, truncated or unreadable."""

_last_line = INTERRUPTED
_exit_code: int | None = None
"""The exit code of a command that a signal or :func:`give_up` ended; None until then."""
_unwinds = False


class Interrupted(SystemExit):
    """Ends a command after a signal; the code is 128 plus the signal's number, as a shell reports it."""


def catch_signals() -> None:
    """End the process with one line at a signal, at once; :func:`run` makes signals unwind the command instead."""
    for number in SIGNALS:
        # `nohup` and a shell's `&` have signals ignored on purpose
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _on_signal)


def run(app: Callable[[], object]) -> NoReturn:
    """Call ``app`` and end the process with its exit code."""
    global _unwinds
    prepare_streams()
    catch_signals()
    signal.signal(signal.SIGALRM, _on_signal)
    sys.unraisablehook = _end_if_interrupted
    code: str | int | None = 0
    try:
        # From here on an exception can undo what the command has begun; before, there was nothing to undo.
        _unwinds = True
        end_after_grace()
        try:
            app()
        finally:
            sys.stdout.flush()
    except Interrupted as e:
        _say_last_line()
        code = e.code
    except SystemExit as e:
        code = e.code
    except OSError as e:
        code = 1
        if not isinstance(e, BrokenPipeError):  # the reader of a pipe, such as `head`, may close it early
            print(f"ridgeline: standard output: {e.strerror}", file=sys.stderr)
    # All files are closed. Unloading the libraries would take another 0.1 s.
    os._exit(code if isinstance(code, int) else 1)


def prepare_streams() -> None:
    """Replace closed standard streams, and let stdout write characters that its encoding lacks as escapes.

    If descriptor 1 or 2 were left free, the next file opened would get it, and messages would be written into that
    file. Closed stdout is opened for reading, so that output to it is an error; closed stderr is silent.
    """
    for descriptor, flags in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, flags)  # gets the lowest free number, which is `descriptor`
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 -- open until the process ends
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _on_signal(number: int, frame: FrameType | None) -> None:
    global _exit_code
    if _exit_code is None:
        _exit_code = 128 + number
    elif number != signal.SIGALRM:
        return  # the first signal is ending the command already
    if not _unwinds:
        end()
    # Native modules abort the process if an exception passes through their import: try again after the import.
    while frame is not None and frame.f_code.co_filename != _IMPORTLIB:
        frame = frame.f_back
    if frame is None:
        raise Interrupted(_exit_code)
    signal.setitimer(signal.ITIMER_REAL, _RETRY_S)


def end_after_grace() -> None:
    """Start a thread that ends the process ``GRACE_S`` after a signal."""
    from threading import Thread
    from time import sleep

    # Python calls signal handlers in the main thread alone, which native code may keep for minutes. The wakeup
    # descriptor is written by the C handler itself.
    received, wakeup = os.pipe()
    os.set_blocking(wakeup, False)
    signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)

    def wait() -> None:
        while (number := os.read(received, 1)[0]) not in SIGNALS:
            pass
        sleep(GRACE_S)
        end(128 + number)

    Thread(target=wait, name="interruption", daemon=True).start()


def give_up(line: str, code: int) -> None:
    """Unwind the command from another thread as a signal does, with ``line`` and ``code`` at its end."""
    global _last_line, _exit_code
    if _exit_code is None:
        _last_line, _exit_code = line, code
    # Python runs signal handlers in the main thread, where the exception has to be raised.
    os.kill(os.getpid(), signal.SIGALRM)


def end(code: int = 1) -> None:
    """End the process now, with the exit code of the signal or :func:`give_up` that came first, else with ``code``."""
    _say_last_line()
    os._exit(code if _exit_code is None else _exit_code)


def check_interrupted() -> None:
    """Raise :class:`Interrupted` if a signal came. Native code may have turned the exception into another error."""
    if _exit_code is not None:
        raise Interrupted(_exit_code)


def _say_last_line() -> None:
    # Progress hides the cursor of a terminal: clear its line and show the cursor again.
    restore = "\r\x1b[K\x1b[?25h" if os.isatty(2) else ""
    try:
        os.write(2, f"{restore}{_last_line}\n".encode())
    except OSError:  # stderr is closed
        return


def _end_if_interrupted(unraisable: sys.UnraisableHookArgs) -> None:
    """End the process if the signal's exception was raised where Python drops it, in a destructor for example."""
    if isinstance(unraisable.exc_value, Interrupted):
        end()
    sys.__unraisablehook__(unraisable)


def fail(message: str, code: int = 1) -> NoReturn:
    """End the command with one line on stderr."""
    # Native code that a signal interrupted may have raised an error of its own, which is not the reason of the end.
    check_interrupted()
    say(message)
    raise SystemExit(code)


def say(message: str) -> None:
    """Print ``message`` as one line on stderr, if that can be written to: never raises, also in other programs."""
    with suppress(Exception):
        print(f"ridgeline: {one_line(message)}", file=sys.stderr, flush=True)


def one_line(text: str) -> str:
    """Return ``text`` on one line, with control characters and marks of writing direction as escapes.

    Names come from files that others made.

    >>> one_line("two\\nlines \\x1b[31mred")
    'two lines \\\\x1b[31mred'
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(text.split()))


@contextmanager
def errors_in_one_line(stored: Path | str | None = None) -> Iterator[None]:
    """End the command with one line for any error: of Ridgeline, the system, or DuckDB over the file ``stored``."""
    from ridgeline.analyze.errors import is_panic

    try:
        yield
    except BaseException as e:
        if not isinstance(e, Exception) and not is_panic(e):
            raise
        if isinstance(e, RidgelineError):
            fail(str(e), e.exit_code)
        # An OSError too, so it comes before: the reader of a pipe, such as `head`, may close it early.
        if isinstance(e, BrokenPipeError):
            raise SystemExit(1) from None
        if isinstance(e, ImportError):
            fail(f"this command {needed(e)}")
        if isinstance(e, OSError):
            fail(f"{e.filename or ''}: {e.strerror or e}".removeprefix(": "))
        if "RIDGELINE_TRACEBACK" in os.environ:
            raise
        # DuckDB raises its base class and others for damaged files, so the exact type counts, and only over `stored`.
        if stored and type(e).__module__.endswith("duckdb") and type(e).__name__ in STORAGE_ERRORS:
            fail(f"{stored}: cannot be read or written: {str(e).splitlines()[0]}")
        fail(f"unexpected {type(e).__name__}: {e} (a bug: set RIDGELINE_TRACEBACK=1 for the traceback)")


@contextmanager
def memory_limit(size: str | None) -> Iterator[int]:
    """Yield the bytes of a ``--memory`` option, and end the command with one line before it exceeds them."""
    from ridgeline.analyze.resources.limits import LEAST_BYTES, default_bytes, in_words, parse_size
    from ridgeline.analyze.resources.memory_watch import watching

    try:
        most_bytes = default_bytes() if size is None else parse_size(size)
    except ValueError as e:
        fail(f"--memory: {e}", 2)
    if size is not None and most_bytes < LEAST_BYTES:
        fail(f"--memory: {size} is too little: expected {in_words(LEAST_BYTES)} or more", 2)
    line = (
        f"ridgeline: more than {in_words(most_bytes)} of memory would be needed: completed work was saved: allow more "
        "with --memory, or use fewer --jobs or shorter traces"
    )
    with watching(most_bytes, lambda: give_up(line, 1), end, GRACE_S):
        yield most_bytes


class Advance(Protocol):
    """Shows ``name`` beside the progress bar and counts ``done`` more items."""

    def __call__(self, name: str, done: int = 1) -> None: ...


@contextmanager
def progress(description: str, total: int | None = None) -> Iterator[Advance]:
    """Yield a function that advances a progress bar of ``total`` items on a terminal, and does nothing in a pipe."""
    if not sys.stderr.isatty():
        yield lambda name, done=1: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=total)
        yield lambda name, done=1: bar.update(task, advance=done, description=f"{description}: {one_line(name)}")
