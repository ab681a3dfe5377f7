"""Wait while an engine records: for a program that makes the load, for seconds, or for a signal."""

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from ridgeline.capture.errors import CaptureError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
POLL_S = 0.05


@contextmanager
def signals(received: list[int]) -> Iterator[None]:
    """Add the block's signals to `received`, in place of what they do otherwise."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(number: int, frame: FrameType | None) -> None:
        received.append(number)

    # The command line ends the process some seconds after a signal, by a thread that reads this descriptor.
    descriptor = signal.set_wakeup_fd(-1)
    # Signals that a shell or nohup has ignored stay ignored.
    before = {each: signal.getsignal(each) for each in SIGNALS if signal.getsignal(each) is not signal.SIG_IGN}
    try:
        for each in before:
            signal.signal(each, on_signal)
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler if handler is not None else signal.SIG_DFL)
        signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)


def started(command: Sequence[str]) -> subprocess.Popen[bytes] | None:
    """Start `command`, which keeps its streams; None for an empty one. Raises CaptureError where it does not start."""
    try:
        return subprocess.Popen(command) if command else None
    except OSError as error:
        raise CaptureError(
            f"{command[0]}: {error.strerror}: expected a program to run while the engine records"
        ) from None


def wait(
    process: subprocess.Popen[bytes] | None, seconds: float | None, received: list[int], is_over: Callable[[], bool]
) -> None:
    """Return when `process` has ended, `seconds` have passed, a signal was `received`, or `is_over` says so."""
    end_s = None if seconds is None else time.monotonic() + seconds
    while not received and not is_over():
        if process is not None and process.poll() is not None:
            return
        if end_s is not None and time.monotonic() >= end_s:
            return
        time.sleep(POLL_S)


def ended(process: subprocess.Popen[bytes] | None, received: list[int]) -> int:
    """Wait for `process` and return its exit code, as a shell gives it; 0 where there is none.

    It gets the signals that were sent to this process alone. A terminal sends SIGINT to both, so that one is not sent
    on; a second signal terminates the process.
    """
    if process is None:
        return 0
    sent = 0
    while process.poll() is None:
        for number in received[sent:]:
            if number != signal.SIGINT or sent:
                process.send_signal(signal.SIGTERM if sent else number)
            sent += 1
        time.sleep(POLL_S)
    code = process.returncode
    return code if code >= 0 else 128 - code
