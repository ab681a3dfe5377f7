"""A lake: the warehouse's tables as Parquet, a folder for each run, to which any number of machines write at once.

``LAKE/<table>/experiment=<E>/run_id=<R>/<generation>.parquet`` has the rows of a run in a table, and
``LAKE/runs/experiment=<E>/run_id=<R>/run.parquet`` its row of ``runs``. That file is the run's commit: it is written
last and names the generation, so files of a writer that was killed are never read, and a reader sees the lake as it was
when it opened it. The generation is a hash of what the rows depend on; writing the same run again changes nothing.

A lake is a path, or a URL of any file system that fsspec supports (``s3://bucket/lake``, ``memory://lake``).
"""
