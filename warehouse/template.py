"""The empty warehouse as a file: SQL takes half a second to make it, a copy 0.05 s.

``make pages`` writes ``empty-DIGEST.duckdb.gz``. The digest is that of the sources of an empty warehouse: where the
sources have changed since, no template has their digest, and the warehouse is made from SQL.
"""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory

from ridgeline.warehouse.rollups import KEPT

_FOLDER = Path(__file__).parent


def path() -> Path:
    """Where the template of the present sources is, if it has been written."""
    digest = hashlib.sha256(" ".join(KEPT).encode())
    named = (_FOLDER / name for name in ("schema.sql", "comments.toml", "datasheets.json"))
    for source in (*named, *sorted((_FOLDER / "views").glob("*.sql"))):
        digest.update(source.read_bytes())
    return _FOLDER / f"empty-{digest.hexdigest()[:16]}.duckdb.gz"


def content() -> bytes | None:
    """An empty warehouse without digests of rows; None if there is no template of the present sources."""
    try:
        return gzip.decompress(path().read_bytes())
    except FileNotFoundError:
        return None


def write() -> None:
    """Write the template of the present sources, in place of any other."""
    from ridgeline.warehouse.database import connect

    for other in _FOLDER.glob("empty-*.duckdb.gz"):
        other.unlink()
    with TemporaryDirectory() as folder:
        empty = Path(folder) / "empty.duckdb"
        connect(empty).close()
        path().write_bytes(gzip.compress(empty.read_bytes(), mtime=0))
