"""Bytes by the model of the L2, from a trace and what lies beside it to the rows of its kernels."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ridgeline.analyze.cache_model import run_bytes as dram_bytes
from ridgeline.analyze.pricing import rules
from ridgeline.analyze.pricing.rules.rule import Rule, no_flops
from ridgeline.analyze.reprice import reprice
from tests.analyze import kineto
from tests.analyze.loading import dump, load, query
from tests.analyze.together import Loading, Run, asked, together

SHARED = Path(__file__).parents[4] / "shared"
BF16 = "c10::BFloat16"
MIB = 1 << 20
ROWS, COLUMNS = 4096, 4096
"""Of a tensor in bf16: 32 MiB."""
KERNEL = "void at::native::vectorized_elementwise_kernel"
SOURCES = "SELECT dram_bytes_source FROM kernel_roofline ORDER BY kernel_id"
BASIS = "SELECT cache_model_operands, cache_model_message FROM runs ORDER BY name"


def steps(count: int, calls: int, *, labelled: bool = True, rows: int = ROWS, **args: Any) -> list[kineto.Event]:
    """Steps of pointwise operators, each on two tensors of their own unless an execution trace says otherwise."""
    events, number = [], 0
    for step in range(count):
        start = 10_000.0 * step
        if labelled:
            events.append(kineto.annotation(f"phase=decode step={step} kind=decode", start, 9000.0))
        for call in range(calls):
            number += 1
            at = start + 100.0 * call
            one = kineto.operator(
                "aten::add.Tensor", at, 5.0, number, [[rows, COLUMNS]] * 2 + [[]], [BF16, BF16, "Scalar"]
            )
            one["args"] |= {"Record function id": 100 + number, **args}
            launch = kineto.launch(at + 1, number)
            events += [one, launch, kineto.kernel(KERNEL, at + 3, 50.0, number, **{"External id": number})]
    return events


def tensor(storage: int, rows: int = ROWS) -> list[Any]:
    return [storage, storage, 0, rows * COLUMNS, 2, "cuda:0"]


def node(number: int, left: int, right: int, out: int, *, name: str = "aten::add", rows: int = ROWS) -> dict[str, Any]:
    def values(*storages: int) -> dict[str, Any]:
        kinds = len(storages)
        return {
            "values": [tensor(s, rows) for s in storages],
            "shapes": [[rows, COLUMNS]] * kinds,
            "strides": [[COLUMNS, 1]] * kinds,
        }

    attributes = [{"name": "rf_id", "type": "uint64", "value": 100 + number}]
    return {"id": number, "name": name, "inputs": values(left, right), "outputs": values(out), "attrs": attributes}


def write(folder: Path, events: list[kineto.Event], nodes: list[dict[str, Any]] | None = None) -> Path:
    trace = kineto.write(folder / "x.json", events)
    if nodes is not None:
        (folder / "x.et.json").write_text(json.dumps({"schema": "1.1.1", "nodes": nodes}))
    return trace


def megabytes(run: Run | Path) -> list[float | None]:
    read = asked(run)("SELECT cache_read_bytes FROM kernels ORDER BY kernel_id")
    return [None if value is None else round(value / MIB) for (value,) in read]


@together
def test_what_the_kernel_before_left_is_not_read_again(folder: Path) -> Loading:
    """The first kernel floods the L2 of 60 MiB; of the others' 4 MiB tensors the third's is the second's run.result."""
    nodes = [node(1, 1, 2, 3), node(2, 4, 5, 6, rows=512), node(3, 6, 6, 7, rows=512)]
    run = yield write(folder, steps(1, 3), nodes)
    assert run.query(BASIS) == [("execution_trace", None)]
    assert megabytes(run) == [64, 8, 0]
    assert run.query(SOURCES) == [("cache_model",)] * 3


def test_a_faster_grouped_product_reads_fewer_matrices(tmp_path: Path, warehouse: Path) -> None:
    """6,400 rows of 8 KiB, 100 matrices of 32 MiB; half the time of the others is that of the rows alone."""
    events = [kineto.annotation("phase=decode step=0 kind=decode", 0.0, 90_000.0)]
    dims, types = [[6400, COLUMNS], [100, COLUMNS, COLUMNS], [100], [], []], [BF16, BF16, "int", "", ""]
    for number in range(1, 42):
        at = 2000.0 * number
        one = kineto.operator("aten::_grouped_mm", at, 5.0, number, dims, types)
        product = kineto.kernel("cutlass::device_kernel", at + 3, 500.0 if number == 41 else 1000.0, number)
        product["args"]["External id"] = number
        events += [one, kineto.launch(at + 1, number), product]
    load(warehouse, write(tmp_path, events))
    *_, even, fast = megabytes(warehouse)
    assert even == pytest.approx(100 * 32 + 50, rel=0.02)
    assert fast == pytest.approx(50, rel=0.02)
    reprice(warehouse)
    assert megabytes(warehouse)[-2:] == [even, fast]


@together
def test_an_execution_trace_of_other_operators_is_not_believed(folder: Path) -> Loading:
    nodes = [node(1, 1, 2, 3), node(2, 3, 3, 4, name="aten::mul")]
    run = yield write(folder, steps(1, 2), nodes)
    assert [value is None for value in megabytes(run)] == [False, True]
    assert run.query(SOURCES) == [("cache_model",), ("compulsory",)]


@together
def test_a_damaged_execution_trace_is_said_and_shapes_are_taken(folder: Path) -> Loading:
    trace = write(folder, steps(1, dram_bytes.FEWEST_KERNELS))
    (folder / "x.et.json").write_text('{"nodes": [')
    run = yield trace
    assert run.result.outcome == "loaded"
    ((operands, message),) = run.query(BASIS)
    assert operands == "recorded_shapes"
    assert "x.et.json" in message
    assert "expected an execution trace" in message


def test_an_execution_trace_put_beside_replaces_the_run(tmp_path: Path, warehouse: Path) -> None:
    trace = write(tmp_path, steps(1, 2))
    assert load(warehouse, trace) == [("x", "loaded")]
    assert query(warehouse, BASIS) == [(None, None)]
    write(tmp_path, steps(1, 2), [node(1, 1, 2, 3), node(2, 3, 3, 4)])
    assert load(warehouse, trace) == [("x", "replaced")]
    assert load(warehouse, trace) == [("x", "unchanged")]
    assert query(warehouse, BASIS) == [("execution_trace", None)]


@together
def test_tensors_beyond_any_memory_are_damage(folder: Path) -> Loading:
    nodes = [node(1, 1, 2, 3, rows=1 << 40), node(2, 3, 3, 4)]
    run = yield write(folder, steps(1, 2), nodes)
    assert [value is None for value in megabytes(run)] == [True, False]


@together
def test_broadcast_tensors_of_endless_elements_are_damage(folder: Path) -> Loading:
    nodes = [node(1, 1, 2, 3), node(2, 3, 3, 4)]
    for side in ("inputs", "outputs"):
        nodes[0][side]["shapes"][0], nodes[0][side]["strides"] = [10**30, 4], [[0, 1]] * 2
    run = yield write(folder, steps(1, 2), nodes)
    assert [value is None for value in megabytes(run)] == [True, False]


@together
def test_a_few_kernels_of_guessed_operands_are_left_alone(folder: Path) -> Loading:
    run = yield write(folder, steps(3, dram_bytes.FEWEST_KERNELS - 1))
    assert set(megabytes(run)) == {None}
    assert run.query(BASIS) == [(None, None)]


def test_equal_steps_have_equal_bytes_and_are_remembered(tmp_path: Path, warehouse: Path) -> None:
    count = dram_bytes.FEWEST_KERNELS
    load(warehouse, write(tmp_path, steps(3, count)))
    found = megabytes(warehouse)
    assert found[:count] == found[count : 2 * count] == found[2 * count :]
    assert None not in found
    ((size,),) = query(warehouse, "SELECT len(read_bytes) FROM sequences")
    assert size == count


def test_what_is_remembered_is_used(tmp_path: Path, warehouse: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another trace of the same kernels is not modelled again: where the model would fail, nothing does."""
    events = steps(2, dram_bytes.FEWEST_KERNELS)
    load(warehouse, write(tmp_path, events))
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.setattr(dram_bytes, "guess", None)
    load(warehouse, write(other, [*events, kineto.annotation("more", 0.0, 1.0)]))
    rows = "SELECT run_id, cache_read_bytes FROM kernels ORDER BY run_id, kernel_id"
    runs: dict[str, list[float]] = {}
    for run, value in query(warehouse, rows):
        runs.setdefault(run, []).append(value)
    first, second = runs.values()
    assert first == second


def test_beyond_the_budget_the_run_says_what_was_left_out(
    tmp_path: Path, warehouse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = dram_bytes.FEWEST_KERNELS
    monkeypatch.setattr(dram_bytes, "MOST_KERNELS", count)
    events = steps(1, count)
    events += [{**event, "ts": event["ts"] + 5000} for event in steps(2, count + 1)[count * 3 + 4 :]]
    load(warehouse, write(tmp_path, events))
    ((_, message),) = query(warehouse, BASIS)
    assert "distinct kernels exceed the limits of the model of the L2" in message


def test_unlabelled_kernels_are_cut_at_embeddings(tmp_path: Path, warehouse: Path) -> None:
    count = dram_bytes.FEWEST_KERNELS
    events = steps(3, count, labelled=False)
    for event in events:
        if event["cat"] == "cpu_op" and event["args"]["External id"] % count == 1:
            event["name"] = "aten::embedding"
            event["args"] |= {"Input Dims": [[1000, 4096], [8]], "Input type": [BF16, "long int"]}
    load(warehouse, write(tmp_path, events))
    assert query(warehouse, "SELECT len(read_bytes) FROM sequences") == [(count,)]


def test_repriced_bytes_are_those_of_a_fresh_ingest(tmp_path: Path) -> None:
    trace = write(tmp_path, steps(2, dram_bytes.FEWEST_KERNELS))
    old, new = tmp_path / "old.duckdb", tmp_path / "new.duckdb"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(rules.RULES, "add", Rule(("add",), no_flops, bytes=lambda bound, outputs: (1, 1)))
        load(old, trace)
    load(new, trace)
    assert dump(old)["kernels"] != dump(new)["kernels"]
    reprice(old)
    before, after = dump(old), dump(new)
    for table in ("kernels", "sequences", "ledger", "signatures"):
        assert before[table] == after[table]


needs_shared = pytest.mark.skipif(not (SHARED / "h200").is_dir(), reason="the reference traces are not at hand")
ERRORS = (
    "SELECT r.name, b.family, b.counter_dram_bytes / sum(b.counter_dram_bytes) OVER (PARTITION BY run_id),"
    " b.cache_model_error FROM byte_sources b JOIN runs r USING (run_id)"
)


@needs_shared
@pytest.mark.parametrize("name", ["ar_decode", "ar_decode_b16", "dlm_full", "dlm_prefix"])
def test_reference_steps_through_the_whole_ingest(reference: Callable[[str], Path], name: str) -> None:
    warehouse = reference(name)
    assert query(warehouse, BASIS) == [("execution_trace", None)]
    ((total, kernels, known),) = query(
        warehouse,
        "SELECT sum(cache_model_bytes) / sum(counter_dram_bytes) - 1, count(*), count(cache_model_bytes)"
        " FROM kernel_roofline WHERE counter_dram_bytes IS NOT NULL",
    )
    assert known == kernels
    assert abs(total) < 0.02
    errors = {family: error for _, family, share, error in query(warehouse, ERRORS) if share and share >= 0.02}
    assert errors
    assert {family: error for family, error in errors.items() if abs(error) > 0.2} == {}


def test_a_step_that_touches_too_much_leaves_the_others_their_bytes(
    tmp_path: Path, warehouse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first step's tensors are 3 x 32 MiB, the second's 3 x 4 MiB, of other kernels."""
    monkeypatch.setattr(dram_bytes, "MOST_BYTES", 20 * MIB)
    events = steps(2, 1)
    events[-1]["name"] = "void at::native::another_kernel"
    load(warehouse, write(tmp_path, events, [node(1, 1, 2, 3), node(2, 4, 5, 6, rows=512)]))
    assert [value is None for value in megabytes(warehouse)] == [True, False]
    ((operands, message),) = query(warehouse, BASIS)
    assert operands == "execution_trace"
    assert message == "1 distinct kernels exceed the limits of the model of the L2"


@together
def test_devices_of_a_kind_share_what_is_equal(folder: Path) -> Loading:
    """The same steps on two devices of one name."""
    count = dram_bytes.FEWEST_KERNELS
    events = steps(2, count)
    for event in events:
        if event["cat"] == "kernel" and event["ts"] >= 10_000:
            event["args"]["device"] = 1
    properties = kineto.HEADER["deviceProperties"]
    header = {**kineto.HEADER, "deviceProperties": [*properties, {**properties[0], "id": 1}]}
    run = yield kineto.write(folder / "x.json", events, header=header)
    assert run.query("SELECT DISTINCT device_index FROM kernels ORDER BY 1") == [(0,), (1,)]
    found = megabytes(run)
    assert None not in found
    assert found[:count] == found[count:]


def test_what_was_left_out_is_said_each_time(tmp_path: Path, warehouse: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dram_bytes, "MOST_BYTES", MIB)
    events = steps(1, dram_bytes.FEWEST_KERNELS)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        load(warehouse, write(tmp_path / name, [*events, kineto.annotation(name, 0.0, 1.0)]))
    messages = query(warehouse, "SELECT cache_model_message FROM runs")
    assert messages == [("32 distinct kernels exceed the limits of the model of the L2",)] * 2
    assert query(warehouse, "SELECT count(*) FROM sequences") == [(0,)]
