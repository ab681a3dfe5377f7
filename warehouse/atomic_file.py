"""Files that are written whole or not at all."""

from __future__ import annotations

import fcntl
import glob
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary sibling to write into: it becomes ``path`` when the block ends, and vanishes when the block raises.

    It is locked meanwhile. Others of the same path that nobody has locked are what a killed process left: they go.
    Raises OSError where the folder cannot be written.
    """
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        _remove_unless_held(left)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    lock = None
    try:
        lock = os.open(part, os.O_CREAT | os.O_TRUNC | os.O_RDWR, 0o666)
        with suppress(OSError):  # some network file systems have no locks; nobody removes it there
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield part
        part.replace(path)
    except OSError as e:
        e.filename = os.fspath(path)  # the name that means something to whoever asked for it
        raise
    finally:
        with suppress(OSError):  # where the folder is read-only
            part.unlink(missing_ok=True)
        if lock is not None:
            os.close(lock)


def _remove_unless_held(part: Path) -> None:
    with suppress(OSError):
        lock = os.open(part, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink()
        finally:
            os.close(lock)
