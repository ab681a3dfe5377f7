"""Files and directories that appear complete or not at all, even if the writing process is killed.

Each is written under a hidden temporary name beside its target, ``.NAME.PID.partial``, and renamed when complete. Its
writer holds a lock on the temporary, so that the next writer of the same target can tell a live process from a killed
one, and deletes what a killed process left.
"""

from __future__ import annotations

import fcntl
import glob
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

SUFFIX = ".partial"


def atomic_file(path: Path) -> AbstractContextManager[Path]:
    """Yield an empty temporary file beside ``path`` to write into.

    The file replaces ``path`` when the block ends, and is deleted if the block raises. Raises OSError, with the name of
    ``path``, if the folder cannot be written.
    """
    return _temporary(path, Path.touch, Path.replace)


def atomic_directory(path: Path, publish: Callable[[Path, Path], object] = Path.rename) -> AbstractContextManager[Path]:
    """Yield an empty temporary directory beside ``path`` to write into.

    When the block ends, ``publish(temporary, path)`` is called, which by default renames the directory; whatever it
    does not move is deleted, as is everything if the block raises. Raises OSError as :func:`atomic_file` does, and if
    ``path`` exists and is not an empty directory.
    """
    return _temporary(path, Path.mkdir, publish)


@contextmanager
def _temporary(path: Path, make: Callable[[Path], object], publish: Callable[[Path, Path], object]) -> Iterator[Path]:
    temporary = path.with_name(f".{path.name}.{os.getpid()}{SUFFIX}")
    lock = None
    try:
        for leftover in path.parent.glob(f".{glob.escape(path.name)}.*{SUFFIX}"):
            held = _is_locked(leftover)
            # Without working locks only a leftover with this process's own PID is certain to have no living writer.
            if held is False or (held is None and leftover == temporary):
                _delete(leftover)
        make(temporary)
        # The lock belongs to the open file, so the system drops it when the process ends, however it ends.
        lock = os.open(temporary, os.O_RDONLY)
        with suppress(OSError):  # some network file systems lock nothing; no other process deletes the temporary there
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield temporary
        publish(temporary, path)
    except OSError as error:
        if error.errno is not None:
            # The user asked for `path` and has never heard of the temporary. A full disk reports no name at all.
            error.filename = str(error.filename or path).replace(str(temporary), str(path))
        raise
    finally:
        _delete(temporary)
        if lock is not None:
            os.close(lock)


def _is_locked(path: Path) -> bool | None:
    """Return whether a living process has ``path`` locked; None if the file system cannot tell."""
    try:
        lock = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(lock)
    return False


def _delete(path: Path) -> None:
    """Delete a file or a directory; nothing happens if it is missing or cannot be deleted."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):  # missing, or in a read-only folder
            path.unlink()
