"""Kineto's trace of a counted window: it names the kernels that the range profiler counts."""

from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ridgeline.capture.counters.cupti.library import CuptiError


class Kineto:
    """torch's profiler from `start` to `stop`.

    It must be on before the range profiler is enabled and off after that is disabled: Kineto may tear CUPTI down when
    it stops.
    """

    def __init__(self) -> None:
        self._profile: Any = None

    def start(self) -> None:
        """Start tracing. Raises CuptiError where another torch profiler is on: there can be one in a process."""
        import torch
        from torch.profiler import ProfilerActivity, profile

        from ridgeline.capture.measuring.profiling import quiet_warnings

        if torch.autograd._profiler_enabled():  # type: ignore[attr-defined]
            raise CuptiError(
                "torch.profiler", None, "the program's own profiler is on; expected none in the steps to count"
            )
        with quiet_warnings():
            self._profile = profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA], acc_events=True)
            self._profile.start()

    def label(self, name: str) -> AbstractContextManager[Any]:
        """Return an annotation of that name around a block."""
        import torch

        return torch.profiler.record_function(name)

    def stop(self) -> bytes:
        """Stop tracing and return the trace, empty if it was never started. The device must have finished its work."""
        if self._profile is None:
            return b""
        from ridgeline.capture.measuring.profiling import quiet_warnings

        profiler, self._profile = self._profile, None
        with quiet_warnings():
            profiler.stop()
        # torch exports to files only.
        with TemporaryDirectory() as folder:
            trace = Path(folder) / "trace.json"
            profiler.export_chrome_trace(str(trace))
            return trace.read_bytes()
