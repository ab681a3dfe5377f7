"""Environment variables that native libraries read once, when torch is imported. This module imports no torch."""

import os


def prepare() -> None:
    """Set the variables that steady host timings and silence the terminal. Variables set by the user keep their value.

    Call this before the first `import torch`.
    """
    # OpenMP threads spin while they wait. Two of them on one core cost each small operator a scheduler tick,
    # milliseconds instead of microseconds. A short spin is as fast and does not stall.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    # Kineto and torch's C++ side write to stderr at every start and stop of a profiler. The one message that
    # matters, that the profiler saw no kernels, follows from the trace (`measuring.profiling`).
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
