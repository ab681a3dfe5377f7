"""Counters recorded on an H200, beside the traces of the same steps: joined in launch order, by name, none missing."""

import gzip
from pathlib import Path

import msgspec
import pytest

from ridgeline.capture.counters import by_cupti as counters
from ridgeline.capture.counters.cupti import join
from ridgeline.capture.counters.cupti.join import JoinError, Kernel, Range
from ridgeline.capture.records import Record

RUNS = sorted(path.parent for path in (Path(__file__).parents[2] / "data" / "h200-counted").glob("*/run.json"))
NAMES = [run.name.split("_p64")[0] + run.name[-8:] for run in RUNS]


def described(run: Path) -> Record:
    return msgspec.json.decode((run / "run.json").read_bytes(), type=Record)


def kernels(run: Path, name: str) -> list[list[Kernel]]:
    """The kernels of each step of a trace, as its labels say."""
    labels = [step.label for step in described(run).window]
    found = join.kernels(gzip.decompress((run / name).read_bytes()), labels)
    return [[kernel for kernel in found if kernel.step == step] for step in range(len(labels))]


def launched(run: Path) -> list[list[Kernel]]:
    """The steps as they were launched kernel by kernel: a replayed run's twin."""
    twin = run / "trace.twin.json.gz"
    return kernels(run, twin.name if twin.exists() else "trace.json.gz")


def test_there_is_a_run_of_every_execution() -> None:
    assert {described(run).config["execution"] for run in RUNS} == {"eager", "cuda_graph", "compile"}


@pytest.mark.parametrize("run", RUNS, ids=NAMES)
def test_counters_are_those_of_the_trace_s_kernels(run: Path) -> None:
    rows = counters.read(run / "trace.counters.csv.gz")
    window = described(run).window
    assert {row.step for row in rows} == {step.index for step in window}
    for step, traced in zip(window, launched(run), strict=True):
        read = [row for row in rows if row.step == step.index and row.metric == "dram__bytes_read.sum"]
        assert [row.launch_index for row in read] == list(range(len(traced)))
        assert [row.kernel for row in read] == [kernel.name for kernel in traced]


@pytest.mark.parametrize("run", RUNS, ids=NAMES)
def test_a_replay_has_the_kernels_of_its_twin_in_their_order(run: Path) -> None:
    if not (run / "trace.twin.json.gz").exists():
        assert described(run).config["execution"] == "eager"
        return
    for replayed, twin in zip(kernels(run, "trace.json.gz"), launched(run), strict=True):
        names = [kernel.name for kernel in twin]
        assert len(names) > 10
        # What tells the device which step comes is a copy, and no kernel.
        assert [kernel.name for kernel in replayed] == names


@pytest.mark.parametrize("lost", [0, 7, -1])
def test_a_range_lost_from_recorded_data_is_noticed(lost: int) -> None:
    run = next(run for run in RUNS if "eager" in run.name)
    flat = [kernel for step in launched(run) for kernel in step]
    numbers = iter(range(len(flat)))
    ranges = [[Range(next(numbers), (1.0,)) for _ in step] for step in launched(run)]
    assert [join.of_step(step, own, flat) for step, own in enumerate(ranges)] == launched(run)
    del ranges[1][lost]
    with pytest.raises(JoinError, match=r"ranges for|follows range"):
        join.of_step(1, ranges[1], flat)
