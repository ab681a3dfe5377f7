"""Tests whose traces are loaded together: a test yields the trace that it wrote, and is sent the run that came of it.

    @together
    def test_a_late_launch_is_the_host_s(folder: Path) -> Loading:
        run = yield kineto.write(folder / "t.json", [...])
        assert run.query("SELECT cause FROM gaps") == [("host_late",)]

A load of its own costs a test 0.2 to 0.3 s of CPU. Most of that opens the file, plans the rollups and commits, which a
call of ``analyze`` does once for many traces. The first test of a module to run also starts those after it, each up to
its ``yield``, and one call loads all their traces. A test that loads twice, patches something before it loads, or asks
about the whole warehouse is no such test: it has the fixture ``warehouse``.
"""

from __future__ import annotations

import gzip
import hashlib
import inspect
import re
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import cached_property, partial, wraps
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ridgeline.analyze.companions.discovery import discover
from ridgeline.analyze.ingest import Result, analyze
from ridgeline.warehouse import load
from ridgeline.warehouse.verify import verify
from tests.analyze.loading import query

MOST_TESTS = 32
"""Tests of one load, as many as the runs of one commit. Two workers may share a module: each loads some in vain."""


class Warehouse:
    """The warehouse of several tests."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.connection = duckdb.connect()
        self.connection.execute(f"ATTACH '{path}' AS w (READ_ONLY); USE w")
        sql = "SELECT table_name FROM duckdb_columns() WHERE column_name = 'run_id' AND schema_name = 'main'"
        self.of_runs = {name for (name,) in self.connection.execute(sql).fetchall()}
        self._views = {name for (name,) in self.connection.execute("SELECT view_name FROM duckdb_views()").fetchall()}
        self._read: set[str] = set()

    def rows(self, name: str) -> str:
        """Return what to read the rows of all runs from: of a view, they are read once, for planning takes 30 ms."""
        if name not in self._views:
            return f"w.main.{name}"
        if name not in self._read:
            self.connection.execute(f"CREATE TABLE memory.main.{name} AS FROM w.main.{name}")
            self._read.add(name)
        return f"memory.main.{name}"

    @cached_property
    def findings(self) -> dict[str, list[str]]:
        """What `ridgeline verify` finds, by run: its name and id."""
        runs, remarks = verify(self._path)
        return {run.name: run.findings for run in runs} | {remark: [remark] for remark in remarks}


@dataclass(frozen=True)
class Run:
    """One of the runs in a warehouse of several tests."""

    result: Result
    warehouse: Warehouse

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the answer from this run's rows in each table and view that the question names.

        Its rows of ``signatures``, which runs share, are those of its kernels.
        """
        of_run = f"run_id = '{self.result.run_id}'"
        words = sorted(set(re.findall(r"\w+", sql)))
        own = {name: f"{self.warehouse.rows(name)} WHERE {of_run}" for name in words if name in self.warehouse.of_runs}
        if "signatures" in words:
            of_kernels = f"SELECT signature_id FROM w.main.kernel_classes WHERE {of_run}"
            own["signatures"] = f"w.main.signatures WHERE signature_id IN ({of_kernels})"
        tables = ", ".join(f"{name} AS (FROM {rows})" for name, rows in own.items())
        with_own = f"WITH {tables}, {sql[5:]}" if sql.startswith("WITH ") else f"WITH {tables} {sql}"
        return self.warehouse.connection.execute(with_own).fetchall()

    def verify(self) -> None:
        """Assert that the ledger closes, ids are unique, references resolve, busy and idle time sum to wall time."""
        own = f"{self.result.name} ({self.result.run_id})"
        others = {name: findings for name, findings in self.warehouse.findings.items() if "(" not in name}
        assert (self.warehouse.findings[own], others) == ([], {})


def asked(run: Run | Path) -> Callable[[str], list[tuple[Any, ...]]]:
    """Return what answers questions about a run, or about a whole warehouse."""
    return run.query if isinstance(run, Run) else partial(query, run)


Loading = Generator[Path, Run, None]
"""What a test of one trace or run directory returns."""
Loadings = Generator[list[Path], list[Run], None]
"""What a test of several returns."""

_TESTS: dict[object, tuple[Callable[..., Generator[Any, Any, None]], dict[str, Any]]] = {}
"""The generator behind each function that pytest calls, and the options of its load."""
_STARTED: dict[str, _Started] = {}
"""The tests that were started and not yet ended, by node id."""


def together(test: Callable[..., Loading] | Callable[..., Loadings], **options: Any) -> Callable[..., None]:
    """Load the test's traces with those of others. Its parameters are parametrized, or ``folder``, an empty one.

    Only tests with equal options of ``analyze`` are loaded at once: ``@partial(together, salvage=True)``.
    """
    signature = inspect.signature(test)
    request = inspect.Parameter("request", inspect.Parameter.KEYWORD_ONLY)
    parametrized = [parameter for parameter in signature.parameters.values() if parameter.name != "folder"]

    @wraps(test)
    def end(request: pytest.FixtureRequest, **_: Any) -> None:
        if request.node.nodeid not in _STARTED:
            _start(request)
        _STARTED.pop(request.node.nodeid).end()

    end.__signature__ = signature.replace(  # type: ignore[attr-defined]  # which pytest reads for fixtures
        parameters=[*(each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parametrized), request]
    )
    _TESTS[end] = test, options
    return end


def _start(request: pytest.FixtureRequest) -> None:
    """Start this test and those that follow it in its module, and load their traces."""
    of_module = [item for item in request.session.items if getattr(item, "function", None) in _TESTS]
    of_module = [item for item in of_module if not item.get_closest_marker("skip")]  # as where nothing is to be loaded
    _, options = _TESTS[request.function]
    of_module = [item for item in of_module if item.path == request.node.path and _TESTS[item.function][1] == options]  # type: ignore[attr-defined]
    at = of_module.index(request.node)
    folder = request.getfixturevalue("tmp_path_factory").mktemp("together")
    started = {item.nodeid: _Started(item, folder / str(i)) for i, item in enumerate(of_module[at : at + MOST_TESTS])}
    runs = load_together([path for test in started.values() for path in test.paths], folder, **options)
    for test in started.values():
        test.loaded([runs.pop(0) for _ in test.paths])
    _STARTED.update(started)


def load_together(paths: list[Path], folder: Path, **options: Any) -> list[Run]:
    """Load each path's one run into a warehouse in the folder, with the options of ``analyze``; some may fail.

    No trace in the folder stays equal to another. A path that is named twice is loaded once.
    """
    seen: set[bytes] = set()
    unique = list(dict.fromkeys(paths))
    for path in unique:
        if folder in path.parents:
            _make_distinct(path, seen)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(load, "BATCH_S", 600.0)  # so that a slow machine commits as seldom
        results = analyze(unique, folder / "w.duckdb", **options)
    run_ids = {result.run_id for result in results if not result.error}
    assert len(results) == len(unique), results
    assert len(run_ids) == sum(not result.error for result in results), "runs of two tests are one"
    warehouse = Warehouse(folder / "w.duckdb")
    runs = {path: Run(result, warehouse) for path, result in zip(unique, results, strict=True)}
    return [runs[path] for path in paths]


def _make_distinct(path: Path, seen: set[bytes]) -> None:
    """End a trace that another test wrote too with blanks, for the bytes of a trace are the identity of its run."""
    for trace in filter(None, (source.trace for source in discover([path])[0])):
        is_packed = trace.suffix == ".gz"
        text = gzip.decompress(trace.read_bytes()) if is_packed else trace.read_bytes()
        while (digest := hashlib.sha256(text).digest()) in seen:
            text += b" "
            trace.write_bytes(gzip.compress(text) if is_packed else text)
        seen.add(digest)


class _Started:
    """A test that has written its traces, or failed to."""

    def __init__(self, item: Any, folder: Path) -> None:
        test, _ = _TESTS[item.function]
        arguments = dict(item.callspec.params) if hasattr(item, "callspec") else {}
        if "folder" in inspect.signature(test).parameters:
            folder.mkdir()
            arguments["folder"] = folder
        self._test = test(**arguments)
        self._error: BaseException | None = None
        self._runs: Run | list[Run] = []
        yielded: Path | list[Path] = []
        try:
            yielded = next(self._test)
        except Exception as e:
            self._error = e
        self._is_one = isinstance(yielded, Path)
        self.paths: list[Path] = [yielded] if isinstance(yielded, Path) else yielded
        if not all(path.exists() for path in self.paths):  # the test is skipped
            self._error, self.paths = FileNotFoundError(str(yielded)), []

    def loaded(self, runs: list[Run]) -> None:
        """Take the runs of the test's paths; one that failed fails the test."""
        self._error = self._error or next((run.result.error for run in runs if run.result.error), None)
        self._runs = runs[0] if self._is_one and runs else runs

    def end(self) -> None:
        """Go on from the ``yield`` to the end."""
        if self._error:
            raise self._error
        with pytest.raises(StopIteration):
            self._test.send(self._runs)
