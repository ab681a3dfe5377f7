"""``python -m ridgeline`` and the console script: the command line, in a checkout too, without installing."""

import gc
import os
import sys

# Imports make hundreds of thousands of objects that stay. Python would visit them all again and again, for a sixth of
# the time of a short command.
gc.set_threshold(200_000, 20, 100)

from ridgeline import terminal  # noqa: E402

terminal.catch_signals()  # before the imports of the command line, which take longer than a user's Ctrl-C

if sys.argv[1:2] == ["analyze"]:
    from ridgeline.analyze.reading import early_start

    # OpenBLAS starts a thread for each core when numpy is imported, in 30 ms; no analysis multiplies matrices.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Polars returns freed memory to the system after half a second, by when most loads are over.
    os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:50,muzzy_decay_ms:0")
    terminal.prepare_streams()  # before pipes are opened
    early_start.start(sys.argv[2:])

from ridgeline.cli import main  # noqa: E402

if __name__ == "__main__":
    main()
