"""Fixtures and options for all tests.

- PyTorch, if it must be asked for a price, is asked in the test process, which imports it once
  (:func:`pricer_process` for the real child).
- A new warehouse is a copy of one empty template a worker (:func:`made_warehouses` for the real thing).
- ``--exhaustive`` runs every sweep in full and the tests marked ``exhaustive``; see ``tests/sampling.py``.

Tests of `capture` run where the requirements of `analyze` are not installed, as on a bare GPU machine.
"""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ridgeline.analyze.pricing.cost import Price
    from ridgeline.analyze.pricing.pricer import Pricer
    from ridgeline.analyze.reading.columns import Signature

# for `python -m ridgeline` in any folder
ROOT = str(Path(__file__).parents[1])
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [ROOT, os.environ.get("PYTHONPATH")]))

if "PYTEST_XDIST_WORKER" in os.environ:  # a worker a core: more threads would only wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if find_spec("polars") and "POLARS_MAX_THREADS" not in os.environ:
        # The pool of this process alone: processes that tests start have a thread a core, as users' have.
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("POLARS_MAX_THREADS", "1")
            import polars

            assert polars.thread_pool_size() == 1
    if find_spec("duckdb"):
        import duckdb

        _connect = duckdb.connect

        def _connect_with_one_thread(
            database: str | Path = ":memory:", read_only: bool = False, config: dict[str, Any] | None = None
        ) -> duckdb.DuckDBPyConnection:
            return _connect(database, read_only=read_only, config={"threads": 1, **(config or {})})

        pytest.MonkeyPatch().setattr(duckdb, "connect", _connect_with_one_thread)  # as long as this process


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--exhaustive", action="store_true", help="run every sweep in full (make test-exhaustive)")


def pytest_configure(config: pytest.Config) -> None:
    from tests import sampling

    sampling.exhaustive = config.getoption("--exhaustive")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests marked ``exhaustive`` unless they are asked for.

    Spark's tests come first, since they are the longest, then those of `capture` and of the study's lake: the first of
    several workers has them all, and makes alone what they share.
    """
    first = ("tests/capture/", "tests/reports/study/test_committed_study.py")
    items.sort(key=lambda item: (not item.get_closest_marker("spark"), not item.nodeid.startswith(first)))
    if config.getoption("--exhaustive"):
        return
    repeated = [item for item in items if item.get_closest_marker("exhaustive")]
    if repeated:
        config.hook.pytest_deselected(items=repeated)
        items[:] = [item for item in items if not item.get_closest_marker("exhaustive")]


def pytest_collection_finish() -> None:
    """Let the garbage collector leave alone what the test modules import, with torch a million objects."""
    gc.collect()
    gc.freeze()


def _start(self: Pricer) -> None:
    """There is no child."""


def _ask(self: Pricer, signature: Signature) -> Price:
    from ridgeline.analyze.pricing.price import price_all

    return price_all([signature])[0].in_doubles()


@pytest.fixture(autouse=True, scope="session")
def _asked_here() -> Iterator[pytest.MonkeyPatch]:
    """A child for each warehouse whose signatures need PyTorch would take hours."""
    with pytest.MonkeyPatch.context() as patch:
        if find_spec("duckdb"):
            from ridgeline.analyze.pricing.pricer import Pricer

            patch.setattr(Pricer, "start", _start)
            patch.setattr(Pricer, "_ask", _ask)
        yield patch


@pytest.fixture
def pricer_process(_asked_here: pytest.MonkeyPatch) -> Iterator[None]:
    """For tests of the child itself."""
    from ridgeline.analyze.pricing.pricer import Pricer

    _asked_here.undo()
    yield
    _asked_here.setattr(Pricer, "start", _start)
    _asked_here.setattr(Pricer, "_ask", _ask)


@pytest.fixture(autouse=True, scope="session")
def _copied_warehouses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pytest.MonkeyPatch]:
    """Make one empty warehouse a worker, and every other new one a copy of it."""
    with pytest.MonkeyPatch.context() as patch:
        if find_spec("duckdb"):
            from ridgeline.warehouse import database

            template = tmp_path_factory.mktemp("template") / "empty.duckdb"
            database.make(template)

            def copy(path: Path) -> None:
                if path.parent.is_dir():
                    shutil.copyfile(template, path)
                else:
                    make(path)  # which says what is wrong

            make = database.make
            patch.setattr(database, "make", copy)
        yield patch


@pytest.fixture
def made_warehouses(_copied_warehouses: pytest.MonkeyPatch) -> Iterator[None]:
    """For tests of how a warehouse is made: no copies of a template."""
    from ridgeline.warehouse import database

    copy = database.make
    _copied_warehouses.undo()
    yield
    _copied_warehouses.setattr(database, "make", copy)


@pytest.fixture(scope="session")
def h200_warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse of runs captured on an H200 and of one small trace, `priced`; copy it to change it."""
    from ridgeline.analyze.ingest import analyze
    from tests.analyze import kineto

    folder = tmp_path_factory.mktemp("h200")
    path = folder / "ridgeline.duckdb"
    traces = [Path(__file__).parent / "data" / "h200", kineto.write(folder / "priced.json", kineto.matmul_step())]
    assert {result.outcome for result in analyze(traces, path)} == {"loaded"}
    return path
