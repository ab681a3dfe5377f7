"""Hardware counters beside a trace: which kernels get them, which do not, and what the run says of that."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest

from ridgeline.analyze.companions.counter_files import read_cupti
from ridgeline.analyze.ingest import analyze
from ridgeline.analyze.tables.counters import LONGEST_ALIGNED, align_kernels
from tests.analyze import kineto
from tests.analyze.loading import RUN_JSON, failures, load, query
from tests.analyze.together import Loading, Run, asked, together

READ, WRITE = "dram__bytes_read.sum", "dram__bytes_write.sum"
COUNTERS = "SELECT kernel_id, metric, value, source FROM counters ORDER BY ALL"
MESSAGE = "SELECT counters_message FROM runs"

Row = tuple[int, int, str, float]


def step(number: int, kernels: Sequence[str], kind: str = "decode", start_us: float = 0.0) -> list[kineto.Event]:
    """A labelled step that launches kernels one after the other, between a fill and a copy."""
    first = 100 * number
    events = [kineto.annotation(f"phase=p step={number} kind={kind}", start_us, 50.0)]
    names = ["Memset (Device)", *kernels, "Memcpy DtoD (Device -> Device)"]
    for i, name in enumerate(names):
        category = {0: "gpu_memset", len(names) - 1: "gpu_memcpy"}.get(i, "kernel")
        at = start_us + 30 * i / len(names)
        events += [kineto.launch(at, first + i), kineto.kernel(name, at + 10, 0.1, first + i, category=category)]
    return events


def trace(folder: Path, *steps: tuple[int, Sequence[str]] | tuple[int, Sequence[str], str]) -> Path:
    events = []
    for i, (number, kernels, *kind) in enumerate(steps):
        events += step(number, kernels, kind[0] if kind else "decode", start_us=1000.0 * i)
    return kineto.write(folder / "t.json", events)


def rows_of(number: int, kernels: Sequence[str], first: float = 0.0) -> list[Row]:
    """A value for each kernel: the first is ``first``, the next one more."""
    return [(number, i, name, first + i) for i, name in enumerate(kernels)]


def ours(folder: Path, rows: Iterable[Row], name: str = "t.counters.csv.gz", metric: str = READ) -> Path:
    lines = [f"{number},{i},{kernel},memory,{metric},{value:g}" for number, i, kernel, value in rows]
    return write(folder / name, "\n".join(["step,launch_index,kernel,window,metric,value", *lines, ""]))


def write(path: Path, text: str) -> Path:
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def given(run: Run | Path) -> list[tuple[int, float]]:
    return asked(run)("SELECT kernel_id, value FROM counters ORDER BY ALL")


# kernel ids count a step's activities: the fill is 0, its kernels 1, 2, ..., the copy comes after them


@together
def test_a_counted_step_applies_to_every_step_of_its_kind(folder: Path) -> Loading:
    path = trace(folder, (1, "ab"), (2, "ab"))
    rows = "1,0,a,memory,{},7\n1,0,a,memory,{},0\n1,1,b,memory,{},2.5\n1,1,b,memory,{},nan\n"
    text = "step,launch_index,kernel,window,metric,value\n" + rows.format(READ, WRITE, READ, WRITE)
    write(folder / "t.counters.csv", text)
    run = yield path
    assert run.query(COUNTERS) == [
        (1, READ, 7.0, "cupti"), (1, WRITE, 0.0, "cupti"), (2, READ, 2.5, "cupti"),
        (5, READ, 7.0, "cupti"), (5, WRITE, 0.0, "cupti"), (6, READ, 2.5, "cupti"),
    ]  # fmt: skip
    assert run.query(MESSAGE) == [(None,)]


@together
def test_the_order_is_that_of_launches(folder: Path) -> Loading:
    events = [
        kineto.annotation("phase=p step=1", 0.0, 50.0),
        kineto.launch(1.0, 1),
        kineto.launch(2.0, 2),
        kineto.kernel("k", 30.0, 1.0, 1),
        kineto.kernel("k", 20.0, 1.0, 2, stream=8),
    ]
    ours(folder, rows_of(1, "kk", 10))
    run = yield kineto.write(folder / "t.json", events)
    assert run.query("SELECT stream, value FROM counters JOIN kernels USING (run_id, kernel_id) ORDER BY ALL") == [
        (7, 10.0),
        (8, 11.0),
    ]


@together
def test_a_replay_s_kernels_are_in_start_order_behind_one_launch(folder: Path) -> Loading:
    events = [
        kineto.annotation("phase=p step=1", 0.0, 50.0),
        kineto.launch(1.0, 1, "cudaGraphLaunch"),
        *(kineto.kernel(name, 20.0 - i, 0.5, 1) for i, name in enumerate("cba")),
    ]
    ours(folder, rows_of(1, "abc"))
    run = yield kineto.write(folder / "t.json", events)
    assert given(run) == [(0, 0.0), (1, 1.0), (2, 2.0)]


@together
def test_a_renamed_kernel_costs_its_step_the_counters_and_the_run_says_so(folder: Path) -> Loading:
    path = trace(folder, (1, "abc"), (2, "abX"))
    ours(folder, rows_of(1, "abc"))
    run = yield path
    assert given(run) == [(1, 0.0), (2, 1.0), (3, 2.0)]
    assert run.query(MESSAGE) == [
        (
            "t.counters.csv.gz: 1 of 2 steps lack counters; phase=p kind=decode step=2: at most 66.7% of its 3 kernels"
            " and the 3 counted agree in order and name, expected 95%: it has none",
        )
    ]


@together
def test_the_order_counts_not_only_the_names(folder: Path) -> Loading:
    names = [f"k{i}" for i in range(40)]
    path = trace(folder, (1, names[20:] + names[:20]))
    ours(folder, rows_of(1, names))
    run = yield path
    assert given(run) == []
    assert "at most 0.0% of its 40" in run.query(MESSAGE)[0][0]


NAMES = [f"k{i}" for i in range(40)]
LONG = {
    "renamed": ([*NAMES[:9], "new", *NAMES[10:]], [i for i in range(40) if i != 9], 1),
    "inserted": ([*NAMES[:9], "new", *NAMES[9:]], list(range(40)), 1),
    "missing": ([*NAMES[:9], *NAMES[10:]], [i for i in range(40) if i != 9], 0),
    "renamed at both ends": (["new", *NAMES[1:39], "other"], list(range(1, 39)), 2),
}


@pytest.mark.parametrize(("names", "counted", "left"), LONG.values(), ids=LONG)
@together
def test_of_a_long_step_those_that_agree_have_counters(
    folder: Path, names: list[str], counted: list[int], left: int
) -> Loading:
    path = trace(folder, (1, names))
    ours(folder, rows_of(1, NAMES))
    run = yield path
    rows = run.query(
        "SELECT kernel, value FROM counters JOIN kernels USING (run_id, kernel_id)"
        " JOIN kernel_classes USING (run_id, class_id) ORDER BY kernel_id",
    )
    assert rows == [(f"k{i}", float(i)) for i in counted]
    assert run.query(MESSAGE) == [
        (
            "t.counters.csv.gz: 1 of 1 steps lack counters; phase=p kind=decode step=1:"
            f" {left} of its {len(names)} kernels fit none of the 40 counted for certain",
        )
    ]


@pytest.mark.parametrize(
    ("ours", "theirs", "certain"),
    [
        ("abc", "abc", [(0, 0), (1, 1), (2, 2)]),
        ("aaaaaaaaaaaaaaaaaaaaab", "aaaaaaaaaaaaaaaaaaaab", [(21, 20)]),  # any of the a may be the new one
        ("xaaaaaaaaaaaaaaaaaaaab", "xaaaaaaaaaaaaaaaaaaaac", [(i, i) for i in range(21)]),
        ("abcdefghijklmnopqrstu", "acbdefghijklmnopqrstu", [(i, i) for i in range(21) if i not in (1, 2)]),
        # the g is counted, but not known to be which
        ("abcdefghijklmnopqrstu", "abcdefgghijklmnopqrstu", [(i, i + (i > 6)) for i in range(21) if i != 6]),
        ("ab", "ba", []),
    ],
)
def test_only_what_no_other_alignment_puts_elsewhere(ours: str, theirs: str, certain: list[tuple[int, int]]) -> None:
    alignment = align_kernels(*(np.array([ord(c) for c in text]) for text in (ours, theirs)))
    assert list(zip(alignment.kernels.tolist(), alignment.counted.tolist(), strict=True)) == certain
    assert alignment.agrees == (len(certain) >= 0.95 * max(len(ours), len(theirs)))


def test_alignment_has_a_largest_step() -> None:
    names = np.arange(LONGEST_ALIGNED + 1)
    assert align_kernels(names, names).share == 1
    assert align_kernels(names[1:], names[:-1]).agrees
    assert not align_kernels(names, names[:-1]).agrees


@together
def test_kinds_are_kept_apart_and_the_nearest_step_counts(folder: Path) -> Loading:
    path = trace(folder, (0, "a", "refresh"), (1, "a", "reuse"), (2, "a", "reuse"), (5, "a", "reuse"))
    ours(folder, [*rows_of(0, "a", 10), *rows_of(1, "a", 11), *rows_of(2, "a", 12)])
    run = yield path
    assert given(run) == [(1, 10.0), (4, 11.0), (7, 12.0), (10, 12.0)]


@together
def test_a_step_of_a_kind_that_was_not_counted_has_none(folder: Path) -> Loading:
    path = trace(folder, (0, "a", "refresh"), (1, "a", "reuse"))
    ours(folder, [*rows_of(1, "a", 11), *rows_of(7, "a", 17)])
    run = yield path
    assert given(run) == [(4, 11.0)]
    assert run.query(MESSAGE)[0][0].endswith(
        "1 of 2 steps lack counters; phase=p kind=refresh step=0: no counted step has its kind"
    )


def test_of_several_steps_not_in_the_trace_none_is_taken_for_one_that_is(tmp_path: Path, warehouse: Path) -> None:
    path = trace(tmp_path, (1, "a"))
    ours(tmp_path, [*rows_of(7, "a", 17), *rows_of(8, "a", 18)])
    load(warehouse, path)
    assert given(warehouse) == []
    ours(tmp_path, rows_of(7, "a", 17))
    load(warehouse, path)
    assert given(warehouse) == [(1, 17.0)]


def test_without_labels_the_whole_trace_is_a_step(tmp_path: Path, warehouse: Path) -> None:
    path = kineto.write(tmp_path / "t.json", [kineto.kernel("a", 1.0, 0.5), kineto.kernel("b", 2.0, 0.5)])
    file = ours(tmp_path, rows_of(3, "ab"))
    load(warehouse, path)
    assert given(warehouse) == [(0, 0.0), (1, 1.0)]
    ours(tmp_path, rows_of(3, "ba"))
    assert load(warehouse, path) == [("t", "replaced")]
    assert given(warehouse) == []
    assert query(warehouse, MESSAGE)[0][0].startswith(f"{file.name}: 1 of 1 steps lack counters; the whole trace: at")


@pytest.mark.parametrize(
    ("events", "rows", "message"),
    [
        ([kineto.kernel("a", 1.0, 0.5)], [], "t.counters.csv.gz: holds no counters"),
        (
            [kineto.operator("aten::mm", 1.0, 2.0, 1)],
            rows_of(1, "a"),
            "t.counters.csv.gz: the trace has no kernels to give them to",
        ),
    ],
)
@together
def test_a_file_or_a_trace_without_anything(
    folder: Path, events: list[kineto.Event], rows: list[Row], message: str
) -> Loading:
    ours(folder, rows)
    run = yield kineto.write(folder / "t.json", events)
    assert run.query(MESSAGE) == [(message,)]
    assert given(run) == []


def test_a_new_counter_file_replaces_the_run_and_its_price(tmp_path: Path, warehouse: Path) -> None:
    path = trace(tmp_path, (1, "ab"))
    account = "SELECT entry, kernels, duration_ns FROM ledger WHERE account = 'price' ORDER BY ALL"
    load(warehouse, path)
    assert query(warehouse, account) == [("none", 4, 400)]
    file = ours(tmp_path, rows_of(1, "ab"), metric="dram__bytes.sum")
    assert load(warehouse, tmp_path) == [("t", "replaced")]
    assert query(warehouse, account) == [("counter", 2, 200), ("none", 2, 200)]
    assert load(warehouse, tmp_path) == [("t", "unchanged")]
    file.unlink()
    ncu(tmp_path / "t.ncu.csv", ["a", "b"])
    assert load(warehouse, tmp_path) == [("t", "replaced")]
    assert query(warehouse, "SELECT DISTINCT source FROM counters") == [("ncu",)]
    (tmp_path / "t.ncu.csv").unlink()
    assert load(warehouse, tmp_path) == [("t", "replaced")]
    assert given(warehouse) == []


NCU_HEADER = '"ID","Host Name","Kernel Name","dram__bytes_read.max","dram__bytes_read.sum","gpu__time_duration.sum"'


def ncu(path: Path, kernels: Sequence[str]) -> Path:
    lines = [f'"{i}","secret","{kernel}","9","1,{i:03}.5","2"' for i, kernel in enumerate(kernels)]
    around = "==PROF== Connected\nhello, world\n", "==PROF== Disconnected\n"
    return write(path, around[0] + "\n".join([NCU_HEADER, '"","","","byte","Kbyte","us"', *lines, ""]) + around[1])


@together
def test_nsight_compute_s_values_by_the_function_s_own_name(folder: Path) -> Loading:
    path = trace(folder, (1, ["void at::native::(anonymous namespace)::f<float>(int)", "_ZN2ns1gIiEEvv"]), (2, "fg"))
    ncu(folder / "t.ncu.csv.gz", ["void at::<unnamed>::f<T1>(T2)", "void ns::g<(int)3>()"])
    run = yield path
    values = [(READ, 1000.5 * 1000), ("gpu__time_duration.sum", 2000.0)]
    more = [(READ, 1001.5 * 1000), ("gpu__time_duration.sum", 2000.0)]
    assert run.query(COUNTERS) == [
        (kernel_id, *value, "ncu")
        for kernel_id, rows in ((1, values), (2, more), (5, values), (6, more))
        for value in rows
    ]
    assert run.query(MESSAGE) == [(None,)]


def test_a_step_counted_by_nsight_compute_is_of_no_kind_if_two_fit(tmp_path: Path, warehouse: Path) -> None:
    ncu(tmp_path / "t.ncu.csv", ["a", "b"])
    load(warehouse, trace(tmp_path, (1, "ab", "reuse"), (2, "abc", "commit"), (3, "ab", "reuse")))
    assert [kernel_id for kernel_id, _ in given(warehouse)[::2]] == [1, 2, 10, 11]
    load(warehouse, trace(tmp_path, (1, "ab", "reuse"), (2, "ab", "commit")))
    query_ = "SELECT count(counters.run_id), counters_message FROM runs LEFT JOIN counters USING (run_id) GROUP BY ALL"
    assert (
        0,
        "t.ncu.csv: 2 of 2 steps lack counters; phase=p kind=reuse step=1: no counted step has its kind",
    ) in query(warehouse, query_)


@together
def test_run_json_says_which_step_nsight_compute_counted(folder: Path) -> Loading:
    described = {**RUN_JSON, "counters": {"outcome": "ok", "ncu": {"step": 2, "kernels": 2}}}
    (folder / "run.json").write_text(json.dumps(described))
    trace(folder, (1, "ab", "reuse"), (2, "ab", "commit")).rename(folder / "trace.json")
    ncu(folder / "trace.ncu.csv.gz", ["a", "b"])
    ours(folder, rows_of(1, "ab", 5), "trace.counters.csv.gz")
    run = yield folder
    assert [row for row in run.query(COUNTERS) if row[1] == READ] == [
        (1, READ, 5.0, "cupti"),
        (2, READ, 6.0, "cupti"),
        (5, READ, 1000500.0, "ncu"),
        (6, READ, 1001500.0, "ncu"),
    ]


HEADER = "step,launch_index,kernel,window,metric,value\n"
BAD = {
    "t.counters.csv": {
        "": "empty",
        "a,b\n1,2\n": "has the columns a, b: expected the columns step, launch_index,",
        HEADER + "x,0,a,memory,m,1\n": "expected the columns step, launch_index,",
        HEADER + ",0,a,memory,m,1\n": "has rows without a step, launch, kernel or metric",
        HEADER + "1,0,a,memory,m,1\n1,0,b,tensor,n,1\n": "launch 0 of step 1 has two names",
    },
    "t.ncu.csv": {
        "": "expected what `ncu --csv --page raw` writes",
        "ID,Metric Name\n0,x\n": "expected what `ncu --csv --page raw` writes",
        NCU_HEADER + '\n"0","h","a","1","1","1"\n': "has no units row",
        '"ID","Kernel Name"\n"",""\n"0","a"\n': "no metric that is a sum",
    },
}


@pytest.mark.parametrize(
    ("name", "text", "message"), [(name, *case) for name, cases in BAD.items() for case in cases.items()]
)
@together
def test_a_file_of_another_form_is_not_used_and_the_run_says_why(
    folder: Path, name: str, text: str, message: str
) -> Loading:
    write(folder / name, text)
    other = "t.ncu.csv" if "counters" in name else "t.counters.csv"
    ncu(folder / other, ["a", "b"]) if "ncu" in other else ours(folder, rows_of(1, "ab"), other)
    run = yield trace(folder, (1, "ab"))
    ((said,),) = run.query(MESSAGE)
    assert said.startswith(f"{name}: ")
    assert message in said
    sources = run.query("SELECT DISTINCT source FROM counters")
    assert sources == [("ncu" if "ncu" in other else "cupti",)]


def test_a_damaged_file_is_not_used_until_it_is_repaired(tmp_path: Path, warehouse: Path) -> None:
    file = ours(tmp_path, rows_of(1, "ab"))
    whole = file.read_bytes()
    file.write_bytes(whole[:-12])
    path = trace(tmp_path, (1, "ab"))
    assert load(warehouse, path) == [("t", "loaded")]
    ((said,),) = query(warehouse, MESSAGE)
    assert said.startswith("t.counters.csv.gz: cannot be read: gzip data cut off or damaged after ")
    assert load(warehouse, path) == [("t", "unchanged")]
    file.write_bytes(whole)
    assert load(warehouse, path) == [("t", "replaced")]
    assert given(warehouse) == [(1, 0.0), (2, 1.0)]
    assert query(warehouse, MESSAGE) == [(None,)]


@pytest.mark.parametrize("name", ["t.counters.csv", "t.counters.csv.gz", "t.ncu.csv", "t.ncu.csv.gz"])
def test_a_counter_file_is_no_trace(tmp_path: Path, warehouse: Path, name: str) -> None:
    file = ours(tmp_path, rows_of(1, "ab"), name)
    (error,) = failures(analyze([file], warehouse))
    assert error == f"{file}: belongs to a trace: name the trace beside it"


def test_the_first_window_that_has_a_metric_counts(tmp_path: Path) -> None:
    text = HEADER + "1,0,a,memory,m,1\n1,0,a,tensor,m,2\n1,0,a,tensor,n,3\n"
    values = read_cupti(write(tmp_path / "t.counters.csv", text)).values
    assert values.select("metric", "value").rows() == [("m", 1.0), ("n", 3.0)]


@together
def test_the_kernels_of_all_threads_are_counted_in_launch_order(folder: Path) -> Loading:
    events = kineto.training_step(1) + kineto.training_step(2)
    kineto.write(folder / "t.json", events)
    names = [event["name"] for event in events[: len(events) // 2] if event["cat"] == "kernel"]
    ncu(folder / "t.ncu.csv", names)
    run = yield folder / "t.json"
    assert run.query(MESSAGE) == [(None,)]
    counted = run.query(
        "SELECT k.kernel, k.step, c.value FROM counters c JOIN kernel_roofline k USING (run_id, kernel_id)"
        f" WHERE metric = '{READ}' ORDER BY k.start_ns",
    )
    assert counted == [(name, step, 1e6 + 1000 * place + 500) for step in (1, 2) for place, name in enumerate(names)]
