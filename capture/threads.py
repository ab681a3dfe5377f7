"""How the host's threads wait: set before torch loads its OpenMP runtime, so nothing here imports torch."""

import os


def calm_threads() -> None:
    """Keep the OpenMP runtime from spinning through whole scheduler ticks; before torch is first imported.

    By default it waits for work actively. When two of its threads meet on one core, every small operator of a decoding
    step then costs milliseconds instead of microseconds. A short spin keeps the speed and loses the stalls. What the user
    has set stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
