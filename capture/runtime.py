"""Settings of the native libraries, which they read once as torch loads; so nothing here imports torch."""

import os


def prepare() -> None:
    """Set what makes host timings steady and the terminal quiet. What the user has set stays.

    - OpenMP's threads wait for work actively by default. When two of them meet on one core, each small operator costs a
      tick of the scheduler, milliseconds instead of microseconds. A short spin keeps the speed and loses the stalls.
    - Kineto and torch's C++ side write to standard error each time a profiler starts and stops. What would matter, a
      profiler that sees no kernels, is found in the trace instead.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
