"""Signals end the wait, not the command: its thread that ends the process after a signal sees none."""

from __future__ import annotations

import os
import signal

from ridgeline.capture.engines import waiting


def test_the_thread_that_ends_an_interrupted_command_sees_no_signal() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    os.set_blocking(reading, False)
    before, handler = signal.set_wakeup_fd(writing, warn_on_full_buffer=False), signal.getsignal(signal.SIGINT)
    hangup = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup ignores it, and what is ignored stays so
    try:
        received: list[int] = []
        with waiting.signals(received):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGHUP)
        assert received == [signal.SIGINT, signal.SIGHUP]
        assert signal.getsignal(signal.SIGINT) is handler
        assert signal.set_wakeup_fd(writing, warn_on_full_buffer=False) == writing
        try:
            seen = os.read(reading, 8)
        except BlockingIOError:
            seen = b""
        assert seen == b""
    finally:
        signal.set_wakeup_fd(before)
        signal.signal(signal.SIGHUP, hangup)
        os.close(reading)
        os.close(writing)


def test_an_ignored_signal_stays_ignored() -> None:
    handler = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        received: list[int] = []
        with waiting.signals(received):
            signal.raise_signal(signal.SIGHUP)
        assert received == []
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, handler)
