"""No verdict without evidence: each text of a view's verdicts has rows that earn it, and a near miss that does not.

The texts come from the views' SQL. A new text, or a new column of texts, fails until it has an example here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import duckdb
import pytest
import sqlglot
from sqlglot import exp

from tests.analyze.tables.test_gaps import CASES as GAPS
from tests.warehouse.rows import device, insert, kernel, rolled_back
from tests.warehouse.views.test_views import STATEMENTS

Connection = duckdb.DuckDBPyConnection
Values = dict[str, Any]

NO_VERDICTS = {"component", "link", "peak_precision", "rest", "block_limit", "item"}
"""Columns of texts that classify and judge nothing, and those of a figure."""
OF_CAUSES = {("placed_kernels", column) for column in ("cause", "narrow", "split_k", "padded", "served")} | {
    ("launch_geometry", "low_occupancy")
}
"""Their texts have examples in test_causes.py."""


def texts(node: exp.Expression | None) -> Iterator[str]:
    """Yield the texts that an expression can give: a literal, or the branches of a CASE."""
    if isinstance(node, exp.Literal) and node.is_string:
        yield str(node.this)
    elif isinstance(node, exp.Case):
        for branch in node.args["ifs"]:
            yield from texts(branch.args["true"])
        yield from texts(node.args.get("default"))
    elif isinstance(node, exp.Coalesce):  # evidence, where there is any, in place of the text
        yield from texts(node.this)
        yield from texts(node.expressions[-1])
    elif isinstance(node, exp.Nullif):
        yield from texts(node.this)
    elif isinstance(node, exp.ConcatWs):  # a separator, the text, and evidence after it
        yield from texts(node.expressions[1])
    elif isinstance(node, exp.DPipe):  # evidence after the text
        yield from (text.rstrip(": ") for text in texts(node.this))


def verdicts() -> dict[tuple[str, str], set[str]]:
    """Return the texts of every view and column."""
    found: dict[tuple[str, str], set[str]] = {}
    for file, statement in STATEMENTS:
        tree = sqlglot.parse_one(statement, dialect="duckdb")
        for alias in tree.find_all(exp.Alias):
            if isinstance(alias.this, exp.Case) and not file.startswith("75_") and alias.alias not in NO_VERDICTS:
                found.setdefault((tree.this.name, alias.alias), set()).update(texts(alias.this))
    return {key: each for key, each in found.items() if each and key not in OF_CAUSES}


class Example(NamedTuple):
    """Kernels of one device: the first earns the text, the second just does not."""

    earns: Values
    misses: Values
    device: Values = {}  # noqa: RUF012 -- never changed


# The device moves 1 TB/s and computes 100 TFLOP/s: 1e9 FLOPs take 10 us, 1e7 bytes 10 us.
SMALL = {"l2_bytes": 1_000_000}
BYTES = {"duration_ns": 9_000, "bytes": 1e7, "flops": 1.0}
WORK = {"duration_ns": 9_600, "flops": 1e9}
FAR = {"duration_ns": 50_000, "bytes": 1e7, "flops": 1.0}
LOST = {"duration_ns": 50_000, "attribution": "unattributed", "signature_id": None, "launch_ns": 1, "replayed": False}
COPY = {"duration_ns": 9_000, "category": "memcpy", "family": "copy", "signature_id": None, "trace_bytes": 10_000_000}
COUNTED = {"duration_ns": 9_000, "counters": {"dram__bytes.sum": 1e7}, "confidence": "low"}
OF_L2 = {"duration_ns": 9_000, "counters": {"dram__bytes.sum": 1e5, "lts__t_bytes.sum": 4e7}}
# The link to other devices carries 100 GB/s, that to the host 10 GB/s: 1e6 bytes take 10 us and 100 us.
LINKS = {"links": {"device": 1e11, "host": 1e10}}
SENT = {"family": "communication", "bytes": 1e9, "flops": 0.0, "link_bytes": 1e6}
PEER = COPY | {"kernel": "Memcpy PtoP (Device -> Device)", "trace_bytes": 1_000_000}
HOST = PEER | {"kernel": "Memcpy HtoD (Pinned -> Device)"}

DIAGNOSES = {
    "communication: no roof of the device applies to bytes over links":
        Example(FAR | {"family": "communication"}, FAR | {"family": "copy"}),
    "over the link to the host: no roof of the device applies":
        Example(COPY | {"kernel": "Memcpy HtoD (Pinned -> Device)"}, COPY | {"kernel": "Memcpy DtoD"}),
    "over the link to another device: no roof of the device applies":
        Example(COPY | {"kernel": "Memcpy PtoP (Device -> Device)"}, COPY | {"kernel": "Memcpy DtoD"}),
    "above the roof of its link: a switch reduced or copied the data, or ranks of one device exchanged it":
        Example(SENT | {"duration_ns": 9_500}, SENT | {"duration_ns": 9_600}, LINKS),
    "above the roof of its link: the link is another one than the datasheet's":
        Example(PEER | {"duration_ns": 9_500}, PEER | {"duration_ns": 9_600}, LINKS),
    "far from the roof of its link: it waited for other ranks, sent little, or crossed a slower link":
        Example(SENT | {"duration_ns": 20_100}, SENT | {"duration_ns": 20_000}, LINKS),
    "far from the roof of the link to the host":
        Example(HOST | {"duration_ns": 200_100}, HOST | {"duration_ns": 200_000}, LINKS),
    "far from the roof of the link to another device":
        Example(PEER | {"duration_ns": 20_100}, PEER | {"duration_ns": 20_000}, LINKS),
    # a price of low confidence that does not set the roof is no reason
    "above its roof: its price is a guess": Example(BYTES | {"confidence": "low"}, COUNTED),
    "above the compute roof: its FLOPs were counted in another launch, or its peak is not the one of its precision":
        Example({"duration_ns": 9_600, "counters": {"sm__ops_path_tensor_src_bf16_dst_fp32.sum": 1e9}}, WORK),
    "above the compute roof by at most 5 %: the clock was higher than the one of its peak":
        Example(WORK, WORK | {"duration_ns": 9_500}),
    "above the measured compute roof, below the datasheet's: power or clock held the measurement back":
        Example(WORK | {"duration_ns": 1_100}, WORK | {"duration_ns": 1_000}),
    # a product of sparse matrices in another format than 2:4 does not run on sparse tensor units
    "above the compute roof: sparse operands run at up to twice the dense peak": Example(
        WORK | {"duration_ns": 600, "operator": "aten::_sparse_semi_structured_mm"},
        WORK | {"duration_ns": 600, "operator": "aten::_sparse_addmm", "kernel": "cusparse::csrmm_kernel"},
    ),
    "above the compute roof: a faster precision or unit computed it, or it computed less than its price says":
        Example(WORK | {"duration_ns": 600}, WORK | {"duration_ns": 300}),
    "above every compute roof of the device: it computed less than its price says":
        Example(WORK | {"duration_ns": 300}, WORK | {"duration_ns": 600}),
    "above the DRAM and the L2 roof: it moved less than its price says":
        Example(BYTES | {"duration_ns": 2_300}, BYTES | {"duration_ns": 2_500}, {"l2_bytes_per_s": 4e12}),
    # 10 MB in 7.9 us leave 2.1 MB to an L2 of 1 MB, which can read and keep 2 MB
    "above the DRAM roof by more than the L2 cache holds: it moved less than its price says":
        Example(BYTES | {"duration_ns": 7_900}, BYTES | {"duration_ns": 8_000}, SMALL),
    "above the DRAM roof: part came from a cache of unknown size, or it moved less than its price says":
        Example(BYTES, BYTES | {"duration_ns": 10_000}),
    "above the DRAM roof: part of its bytes came from the L2 cache, which compulsory bytes ignore":
        Example(BYTES, BYTES | {"duration_ns": 7_900}, SMALL),
    "above the DRAM roof: the L2 cache kept more than the model of it says":
        Example(BYTES | {"cache_read_bytes": 9_500_000, "cache_write_bytes": 0}, BYTES, SMALL),
    "above the DRAM roof: part of what it copied or filled stayed in the L2 cache":
        Example(COPY, COPY | {"duration_ns": 7_900}, SMALL),
    "above its bandwidth by at most 5 %: within the spread of measurements":
        Example(COUNTED | {"duration_ns": 9_600}, COUNTED | {"duration_ns": 9_500}),
    "above the L2 roof: its bytes were counted in another launch":
        Example(OF_L2, OF_L2 | {"duration_ns": 9_600}, {"l2_bytes_per_s": 4e12}),
    "above its bandwidth: its bytes were counted in another launch, which found less in the L2 cache":
        Example(COUNTED, COUNTED | {"duration_ns": 9_600}),
    "overhead of its operator: the main kernels carry the cost":
        Example(WORK | {"share": 0.0, "bytes": 1e6}, WORK | {"share": 0.1, "bytes": 1e6}),
    "too short for any roof to matter":
        Example({"duration_ns": 3_900, "bytes": 1e6, "flops": 1.0}, {"duration_ns": 4_000, "bytes": 1e6, "flops": 1.0}),
    "no operator: its launch was not recorded": Example(LOST | {"launch_ns": None}, LOST),
    "no operator: replayed from a graph": Example(LOST | {"replayed": True}, LOST),
    "no operator: launched outside any operator": Example(LOST, LOST | {"replayed": True}),
    "no operator: replayed from a graph or launched outside any operator": Example(LOST | {"replayed": None}, LOST),
    "launched before recording began":
        Example(LOST | {"attribution": "before_recording", "launch_ns": None}, LOST | {"launch_ns": None}),
    "no operator: a range of counters in the place of kernels": Example(
        LOST | {"attribution": "profiler_range"},
        LOST | {"attribution": "profiler_range", "counters": {"dram__bytes.sum": 1e7}},
    ),
    "its operator recorded no operands": Example({"duration_ns": 50_000}, {"duration_ns": 50_000, "shapes": "[[4]]"}),
    "its operator has no price": Example({"duration_ns": 50_000, "shapes": "[[4]]"}, {"duration_ns": 50_000}),
    "far from its roof, if the guess of its price is right": Example(FAR | {"confidence": "low"}, FAR),
    # a kernel without FLOPs that are known, as those that Inductor generates
    "far from its bandwidth; its compute roof is unknown": Example(FAR | {"flops": None}, FAR),
    "far from its roof": Example(FAR, FAR | {"duration_ns": 20_000}),
}  # fmt: skip

# else it is the nearest roof
BOUNDS = {
    # 10 us at the roof are half of 20
    "none": Example(FAR | {"duration_ns": 20_001}, FAR | {"duration_ns": 20_000}),
    "latency": Example({"duration_ns": 3_900, "bytes": 1e6}, {"duration_ns": 4_000, "bytes": 1e6}),
}
NEAREST = {
    "none": Example({"duration_ns": 50_000}, FAR),
    "compute": Example(WORK, WORK | {"bytes": 1.1e7}),
    "l2": Example(OF_L2, COUNTED, {"l2_bytes_per_s": 4e12}),
    "dram": Example(BYTES, BYTES | {"flops": 1.1e9}),
    "link": Example(SENT | {"duration_ns": 10_000}, FAR, LINKS),
}
BASES = {
    "roof": Example(FAR, FAR | {"confidence": "low"}),
    "guess": Example(BYTES | {"duration_ns": 9_500}, BYTES | {"duration_ns": 9_600}),
    "communication": Example(FAR | {"family": "communication"}, FAR),
    "no roof": Example({"duration_ns": 50_000}, FAR),
}
GUESSES = {
    "high": Example(FAR, FAR | {"confidence": "low"}),
    "low": Example({"duration_ns": 9, "signature_id": None}, COPY | {"duration_ns": 10_000}),
}
FLOPS_SOURCES = {
    "algorithm": Example(WORK, COUNTED),
    "counter": Example({"duration_ns": 9, "counters": {"sm__ops_path_tensor_src_bf16_dst_fp32.sum": 1e9}}, WORK),
    "none": Example(COUNTED, WORK),
}
BYTES_SOURCES = {
    "counter": Example(COUNTED, BYTES),
    "trace": Example(COPY, BYTES),
    "cache_model": Example(BYTES | {"cache_read_bytes": 1, "cache_write_bytes": 0}, BYTES),
    "compulsory": Example(BYTES, BYTES | {"cache_read_bytes": 1, "cache_write_bytes": 0}),
    "none": Example(WORK, BYTES),
}
OF_KERNELS = {
    ("placed_kernels", "diagnosis"): DIAGNOSES,
    ("placed_kernels", "bound"): BOUNDS,
    ("placed_kernels", "nearest_roof"): NEAREST,
    ("placed_kernels", "basis"): BASES,
    ("placed_kernels", "confidence"): GUESSES,
    ("placed_kernels", "flops_source"): FLOPS_SOURCES,
    ("placed_kernels", "dram_bytes_source"): BYTES_SOURCES,
}


# A step of 2 us, of which 1.6 are four fifths. Its kernels have a price of high confidence.
BUSY, WAITING = {"busy_ns": 1600}, {"busy_ns": 1599}
TIMED = {"unprofiled_ns": 1000}
ALONE = {"busy_ns": 2000, "kernels": 1}
OF_STEPS = {
    ("step_diagnosis", "diagnosis"): {
        "operators run on the host, which waits for no device": Example(WAITING | {"on_cpu": True}, WAITING),
        "unknown: the device is idle for over a fifth of the step, but the host causes less: see gap_summary":
            Example(WAITING | {"cause": "dependency"}, WAITING),
        # the device may have waited before and after: the trace has no gap there
        "unknown: a step of one kernel shows no idle time: time it without the profiler":
            Example(ALONE, ALONE | {"wait_ns": 1}),
        # the wait before a step, while its label was open, is over a fifth of both
        "host-bound between steps: the device waits for each step to begin":
            Example({"busy_ns": 2000, "wait_ns": 501}, {"busy_ns": 2000, "wait_ns": 500}),
        "host-bound under the profiler, which slows launching: time the step without it": Example(WAITING, BUSY),
        "host-bound: the device waits between replays of graphs":
            Example(WAITING | {"replayed": True}, BUSY | {"replayed": True}),
        "host-bound: the device waits for launches, kernel by kernel":
            Example(TIMED | {"busy_ns": 799}, TIMED | {"busy_ns": 800}),
        "device-bound, even under the profiler": Example(BUSY, WAITING),
        "device-bound": Example(BUSY | {"replayed": True}, BUSY),
    },
    ("step_diagnosis", "basis"): {"trace": Example(BUSY, BUSY | TIMED), "unprofiled": Example(BUSY | TIMED, BUSY)},
    ("step_diagnosis", "bound"): {
        "device": Example(BUSY, WAITING),
        "host": Example(WAITING, BUSY),
        "unknown": Example(WAITING | {"cause": "replay"}, BUSY | {"cause": "replay"}),
    },
    ("step_diagnosis", "confidence"): {
        "high": Example(WAITING | {"replayed": True}, WAITING), "low": Example(WAITING, BUSY),
    },
    ("deviations", "worth"): {
        "unknown: its kernels have no roof": Example(BUSY | {"bytes": None, "flops": None}, BUSY),
        "unknown: communication waits for links and other devices":
            Example(BUSY | {"family": "communication"}, BUSY),
        "unknown: no step": Example(BUSY | {"step_id": None}, BUSY),
        "unknown: the step waits, and not for the host alone": Example(WAITING | {"cause": "unknown"}, WAITING),
        "nothing while the step is host-bound": Example(TIMED | {"busy_ns": 799}, TIMED | {"busy_ns": 800}),
        "unknown: the trace alone does not say whether the step is host-bound without the profiler":
            Example(WAITING, WAITING | {"replayed": True}),
        "at most saved_ns a step, by a guessed price": Example(BUSY | {"confidence": "low"}, BUSY),
        "at most saved_ns a step": Example(BUSY, BUSY | {"confidence": "low"}),
    },
}  # fmt: skip
Texts = dict[tuple[str, str, str], tuple[set[Any], set[Any]]]
"""By view, column and text of an example: the column's texts where the text is earned, and where it is missed."""


def examples(of: dict[tuple[str, str], dict[str, Example]]) -> list[tuple[tuple[str, str, str], Example]]:
    return [((*key, text), example) for key, each in of.items() for text, example in each.items()]


KINDS = ("earns", "misses")
FAMILIES = {"deviations": "(FROM deviations WHERE level = 'family')"}


def texts_of(connection: Connection, of: dict[tuple[str, str], dict[str, Example]]) -> Texts:
    """Return the texts of all examples, each of two runs that are named by its number: one query a view."""
    found: Texts = {}
    for view in {view for view, _ in of}:
        columns = [column for each, column in of if each == view]
        rows = connection.execute(f"SELECT run_id, {', '.join(columns)} FROM {FAMILIES.get(view, view)}").fetchall()
        for number, (key, _) in enumerate(examples(of)):
            if key[0] == view:
                at = 1 + columns.index(key[1])
                earned, missed = ({row[at] for row in rows if row[0] == f"{number} {kind}"} for kind in KINDS)
                found[key] = earned, missed
    return found


@pytest.fixture(scope="module")
def placed(defined: Connection) -> Texts:
    """The texts of kernels, each alone on the device of a run; one question for all, since to plan it takes 30 ms."""
    with rolled_back(defined):
        defined.execute("DELETE FROM ceilings WHERE level = 'link'")
        for number, (_, example) in enumerate(examples(OF_KERNELS)):
            for kind, kernel_id in zip(KINDS, (2 * number, 2 * number + 1), strict=True):
                place(defined, f"{number} {kind}", kernel_id, getattr(example, kind), example.device)
        return texts_of(defined, OF_KERNELS)


def place(connection: Connection, run_id: str, kernel_id: int, values: Values, machine: Values) -> None:
    """Insert a run of one kernel on a device of its own."""
    device(connection, run_id, name := f"device of {run_id}")
    if "l2_bytes" in machine:
        connection.execute("UPDATE devices SET l2_bytes = ? WHERE run_id = ?", [machine["l2_bytes"], run_id])
    ceiling = {"run_id": run_id, "device": name, "resource": "bandwidth", "unit_of_value": "byte/s"}
    ceiling |= {"source": "measured"}
    if "l2_bytes_per_s" in machine:
        insert(connection, "ceilings", level="l2", value=machine["l2_bytes_per_s"], **ceiling)
    for end, value in machine.get("links", {}).items():
        insert(connection, "ceilings", level="link", unit=end, value=value, **ceiling)
    facts = dict(values)
    counters = facts.pop("counters", {})
    kernel(connection, kernel_id, run_id=run_id, **facts)
    for metric, value in counters.items():
        insert(connection, "counters", run_id=run_id, kernel_id=kernel_id, metric=metric, value=value, source="cupti")


@pytest.fixture(scope="module")
def judged(defined: Connection) -> Texts:
    """The texts of steps, each alone in a run."""
    with rolled_back(defined):
        for number, (_, example) in enumerate(examples(OF_STEPS)):
            for kind, kernel_id in zip(KINDS, (4 * number, 4 * number + 2), strict=True):
                step(defined, f"{number} {kind}", kernel_id, getattr(example, kind))
        return texts_of(defined, OF_STEPS)


def step(connection: Connection, run_id: str, kernel_id: int, values: Values) -> None:
    """Insert a run of one step of two kernels, of this number and the next, with a gap between them."""
    facts: Values = {
        "kernels": 2,
        "cause": "host_late",
        "wait_ns": 0,
        "replayed": False,
        "bytes": 1.0,
        "flops": 1.0,
        "step_id": 1,
    } | values
    wait_ns, busy_ns, replayed = (facts.pop(name) for name in ("wait_ns", "busy_ns", "replayed"))
    cause, unprofiled_ns, kernels = facts.pop("cause"), facts.pop("unprofiled_ns", None), facts.pop("kernels")
    facts["run_id"] = run_id
    device(connection, run_id, f"device of {run_id}")
    if facts.pop("on_cpu", False):
        connection.execute("UPDATE runs SET device_kind = 'cpu' WHERE run_id = ?", [run_id])
    host = {"host_start_ns": -wait_ns, "host_duration_ns": 2000 + wait_ns}
    times = {"start_ns": 0, "end_ns": 2000, "busy_ns": busy_ns, "idle_ns": 2000 - busy_ns}
    insert(connection, "steps", run_id=run_id, rank=0, step_id=1, phase="p", kind="k", **host, **times)
    last_ns = 300 if kernels > 1 else busy_ns
    if kernels > 1:
        kernel(connection, kernel_id, busy_ns - 300, launch_ns=1, **facts)
    kernel(connection, kernel_id + 1, last_ns, start_ns=2000 - last_ns, launch_ns=1 if replayed else 2, **facts)
    for number, (start_ns, duration_ns) in enumerate([(busy_ns - 300, 2000 - busy_ns), (-wait_ns, wait_ns)]):
        place = {"rank": 0, "device_index": 0, "gap_id": number}
        place |= {"before_kernel_id": kernel_id + number - 1, "after_kernel_id": kernel_id + 1}
        if duration_ns:
            insert(connection, "gaps", run_id=run_id, start_ns=start_ns, duration_ns=duration_ns, cause=cause, **place)
    if unprofiled_ns:
        insert(
            connection, "timings", run_id=run_id, metric="step", phase="p", kind="k", repeat=0, value_ns=unprofiled_ns
        )


@pytest.mark.parametrize(("duration_ns", "explained"), [(1_250, True), (1_240, False)])
def test_an_unmeasured_l2_explains_eight_times_the_dram(run: Connection, duration_ns: int, *, explained: bool) -> None:
    run.execute("UPDATE devices SET l2_bytes = 100000000")
    kernel(run, 1, duration_ns, bytes=1e7, flops=1.0)
    ((text,),) = run.execute("SELECT diagnosis FROM kernel_roofline").fetchall()
    assert text.startswith(
        "above the DRAM roof: part of its bytes came from the L2 cache" if explained else "above the DRAM and the L2"
    )


@pytest.mark.parametrize(("view", "column", "text"), [key for key, _ in examples(OF_KERNELS)])
def test_a_kernel_earns_each_text_and_a_near_miss_does_not(placed: Texts, view: str, column: str, text: str) -> None:
    (earned,), (missed,) = placed[view, column, text]
    assert earned.partition(": under")[0] == text  # the number that makes a kernel short
    assert missed != text


@pytest.mark.parametrize(("view", "column", "text"), [key for key, _ in examples(OF_STEPS)])
def test_a_step_earns_each_text_and_a_near_miss_does_not(judged: Texts, view: str, column: str, text: str) -> None:
    earned, missed = judged[view, column, text]
    assert earned == {text}
    assert missed
    assert text not in missed


def test_every_cause_of_a_gap_has_a_trace_that_earns_it_and_others_that_do_not() -> None:
    (summary,) = (statement for _, statement in STATEMENTS if "VIEW gap_summary" in statement)
    causes = set(re.findall(r"cause = '(\w+)'", summary))
    assert causes == {row[0] for _, rows in GAPS.values() for row in rows}


def test_every_text_has_an_example() -> None:
    assert verdicts() == {key: set(examples) for key, examples in (OF_KERNELS | OF_STEPS).items()}
