from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.analyze.loading import load

SHARED = Path(__file__).parents[3] / "shared"


@pytest.fixture
def warehouse(tmp_path: Path) -> Path:
    return tmp_path / "w.duckdb"


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The warehouse of one reference trace, loaded once a worker: to be read only."""
    folder = tmp_path_factory.mktemp("reference")

    @cache
    def loaded(name: str) -> Path:
        path = folder / f"{name}.duckdb"
        assert load(path, SHARED / "h200" / f"{name}.json.gz") == [(name, "loaded")]
        return path

    return loaded
