"""The verdict on programs with several kinds of step, and on programs timed in one stretch without repeats."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from ridgeline import warehouse
from ridgeline.reports.comparison.compare import above, compare
from ridgeline.reports.comparison.text import text
from ridgeline.reports.comparison.verdict import verdict
from tests.reports.compared import MLP, MM, Launch, add_compared
from tests.reports.conftest import insert, make

Timed = list[tuple[str, int, int, int]]
"""Kind, step, repeat and nanoseconds."""


def add(connection: duckdb.DuckDBPyConnection, name: str, timed: Timed, whole_ns: tuple[int, ...]) -> None:
    """A run of a refresh and a reuse, each one product of 1,000 ns, with timings of steps and of generations."""
    product: Launch = ("gemm", "matmul", "aten::mm", MM, MLP, [1000, 1000])
    add_compared(connection, name, [product], kinds=("refresh", "reuse"), mode="mine")
    ((run_id,),) = connection.execute("SELECT run_id FROM runs WHERE name = ?", [name]).fetchall()
    for kind, step, repeat, value_ns in timed:
        of_step = {"phase": kind, "kind": kind, "step": step, "repeat": repeat, "value_ns": value_ns}
        insert(connection, "timings", run_id=run_id, metric="step", **of_step)
    for repeat, value_ns in enumerate(whole_ns):
        insert(connection, "timings", run_id=run_id, metric="end_to_end", repeat=repeat, value_ns=value_ns)


def repeated(refresh_ns: int, reuse_ns: int) -> Timed:
    kinds = (("refresh", 0, refresh_ns), ("reuse", 1, reuse_ns))
    return [(kind, step, repeat, ns + 2 * repeat) for kind, step, ns in kinds for repeat in range(3)]


def in_one_stretch(values_ns: list[int]) -> Timed:
    return [("reuse", step, 0, ns) for step, ns in enumerate(values_ns, 3)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    def fill(connection: duckdb.DuckDBPyConnection) -> None:
        add(connection, "before", repeated(4000, 2000), (100_000, 100_100, 100_200))
        # a refresh became slower, and the 46 reuses of a generation faster
        add(connection, "after", repeated(5000, 1500), (75_000, 75_100, 75_200))
        add(connection, "stretch", in_one_stretch([1000, 1400] * 8), (19_200,))
        add(connection, "longer_stretch", in_one_stretch([1100, 1500] * 16), (41_600,))
        add(connection, "steady", in_one_stretch([1000] * 16), (16_000,))
        add(connection, "as_steady", in_one_stretch([1040] * 16), (16_640,))

    path = make(tmp_path_factory.mktemp("generations") / "w.duckdb", fill)
    with warehouse.connect(path, read_only=True) as connection:
        yield connection


def test_a_whole_generation_is_the_first_sentence(runs: duckdb.DuckDBPyConnection) -> None:
    found = compare(runs, "before", "after")
    assert verdict(found) == [
        "a generation: 25 % faster, 100 µs to 75.1 µs end to end (noise ±1 %)",
        "refresh: 25 % slower, 4 µs to 5 µs unprofiled (noise ±1 %); its device time is the same, 1 µs to 1 µs",
        "reuse: 25 % faster, 2 µs to 1.5 µs unprofiled (noise ±1 %); its device time is the same, 1 µs to 1 µs",
    ]
    assert "Generation, without the profiler" in text(found, "table")
    # a limit is checked for each kind of step, as before
    assert above(found, 10) == ["refresh is 25 % slower (4 µs to 5 µs unprofiled, noise ±1 %)"]


def test_stretches_of_steps_are_no_generations(runs: duckdb.DuckDBPyConnection) -> None:
    """They may hold more steps or fewer: 32 of 1.3 us are no slower program than 16 of 1.2 us."""
    found = compare(runs, "stretch", "longer_stretch")
    assert found.level("generation") == []
    (sentence,) = [each for each in verdict(found) if each.startswith("reuse")]
    # the sample of a run without repeats is a step: t(46) 2.75 times 200 ns times the root of 1/16 + 1/32
    assert sentence.startswith("reuse: no change beyond noise, 1.2 µs to 1.3 µs unprofiled (noise ±14.3 %)")


def test_steps_that_follow_each_other_do_not_show_all_noise(runs: duckdb.DuckDBPyConnection) -> None:
    (row,) = compare(runs, "steady", "as_steady").level("unprofiled")
    assert (row["status"], row["noise_basis"], row["noise_ns"]) == ("same", "steps", 50)
