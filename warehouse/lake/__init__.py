"""A lake: the warehouse's tables as Parquet, a folder for each run, to which any number of machines write at once.

``LAKE/<table>/experiment=<E>/run_id=<R>/<generation>.parquet`` has the rows of a run in a table, and
``LAKE/runs/experiment=<E>/run_id=<R>/run.parquet`` its row of ``runs``. That file is the run's commit: it is written
last and names the generation, so files of a writer that was killed are never read, and a reader sees the lake as it was
when it opened it. The generation is a hash of what the rows depend on; writing the same run again changes nothing.

A lake is a path, or a URL of any file system that fsspec supports (``s3://bucket/lake``, ``memory://lake``).
"""

from ridgeline.warehouse.lake.commits import Commit, commits
from ridgeline.warehouse.lake.export import Exported, export, move_run
from ridgeline.warehouse.lake.files import NO_EXPERIMENT, Lake, partition, table_columns
from ridgeline.warehouse.lake.reading import load_lake, newest_signatures, open_lake, snapshot, table_files

__all__ = [
    "NO_EXPERIMENT",
    "Commit",
    "Exported",
    "Lake",
    "commits",
    "export",
    "load_lake",
    "move_run",
    "newest_signatures",
    "open_lake",
    "partition",
    "snapshot",
    "table_columns",
    "table_files",
]
