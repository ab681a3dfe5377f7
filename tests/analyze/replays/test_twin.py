"""Graph replays and their eager twins: what matches, what it learns, and what is left when kernels differ."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ridgeline.analyze.errors import TraceError
from ridgeline.analyze.ingest import analyze
from ridgeline.warehouse import connect
from tests.analyze import kineto
from tests.analyze.loading import RUN_JSON, dump, failures, query, run_directory
from tests.analyze.replays.steps import assert_conserved, eager_step, load, modules, replayed_step, with_twin
from tests.analyze.together import Loading, together
from tests.command_line import ridgeline
from tests.sampling import examples


@together
def test_a_replay_learns_everything_but_its_step(folder: Path) -> Loading:
    names = [event["name"] for event in kineto.matmul_step() if event["ph"] == "X" and event["pid"] == 0]
    replay = replayed_step("phase=decode step=9 kind=decode", names[:3])
    replay.append(kineto.kernel(names[3], 40.0, 1.5, 9001, category="gpu_memcpy", bytes=256))
    run = yield with_twin(folder, replay, kineto.matmul_step())
    assert run.result.matched == (4, 10_500, 4, 10_500)
    rows = run.query(
        "SELECT kernel, family, operator, module, phase, kind, step, duration_ns, attribution, confidence, precision,"
        " unit, flops, dram_bytes, dram_bytes_source FROM kernel_roofline ORDER BY kernel_id",
    )
    module, step = "model.layers.0.mlp", ("decode", "decode", 9)
    mm_flops, mm_bytes = 2 * 4 * 64 * 32, 2 * (4 * 64 + 64 * 32 + 4 * 32)
    assert rows == [
        (names[0], "matmul", "aten::mm", module, *step, 3_000, "graph_twin", "high", "bf16", "tensor",
         mm_flops, mm_bytes, "compulsory"),
        (names[1], "matmul", "aten::mm", module, *step, 3_000, "graph_twin", "high", "fp32", "vector",
         0, 4 * 4 * 32 * 4 + 2 * 4 * 32, "compulsory"),
        (names[2], "pointwise", "aten::add.Tensor", None, *step, 3_000, "graph_twin", "high", "fp32", "vector",
         128, 768, "compulsory"),
        (names[3], "copy", "aten::copy_", None, *step, 1_500, "graph_twin", "high", None, None, 0, 512, "trace"),
    ]  # fmt: skip


@together
def test_each_replay_has_its_own_copies_of_the_operators(folder: Path) -> Loading:
    twin = [kineto.operator("aten::linear", 1.5, 8.0, 77), *eager_step("phase=decode step=1", ["a"])]
    first, second = (replayed_step("phase=decode step=1", ["a"], at, int(at) + 1) for at in (50.0, 90.0))
    own = [kineto.operator("aten::item", 130.0, 2.5, 5)]
    run = yield with_twin(folder, [*first, *second, *own], twin)
    rows = run.query(
        "SELECT o.operator_id, p.operator, o.operator, o.start_ns, o.duration_ns"
        " FROM operators o LEFT JOIN operators p ON p.operator_id = o.parent_id ORDER BY o.start_ns, 3, 1",
    )
    assert [row[1:] for row in rows] == [
        (None, "aten::linear", 51_000, 0), ("aten::linear", "aten::mm", 51_000, 0),
        (None, "aten::linear", 91_000, 0), ("aten::linear", "aten::mm", 91_000, 0),
        (None, "aten::item", 130_000, 2_500),
    ]  # fmt: skip
    kernels = run.query("SELECT operator_id, share FROM kernels ORDER BY start_ns")
    assert kernels == [(rows[1][0], 1.0), (rows[3][0], 1.0)]


@together
def test_a_replay_learns_the_modules_that_events_of_the_twin_name(folder: Path) -> Loading:
    """A module around the graph's launch is that of the kernels whose partners have none."""
    twin = eager_step("phase=decode step=1", ["a", "b"])
    twin = [event for event in twin if not event["name"].startswith("module=")]
    first = next(event["ts"] for event in twin if event["cat"] == "cpu_op")
    twin += [kineto.frame("nn.Module: Net_0", first - 0.5, 8.0), kineto.frame("nn.Module: Linear_3", first - 0.2, 7.0)]
    replay = [*replayed_step("phase=decode step=1", ["a", "b"]), kineto.frame("nn.Module: Graph_0", 0.5, 15.0)]
    run = yield with_twin(folder, replay, twin)
    assert [module for _, module, _ in modules(run)] == ["Net_0.Linear_3", "Graph_0"]
    assert run.query("SELECT module, module_class, source FROM modules ORDER BY ALL") == [
        ("Graph_0", "Graph", "event"),
        ("Net_0", "Net", "event"),
        ("Net_0.Linear_3", "Linear", "event"),
    ]


@together
def test_steps_are_matched_with_those_of_their_kind(folder: Path) -> Loading:
    refresh, near, far = (
        f"phase=denoise kind={kind} step={step} query={query} context={context}"
        for kind, step, query, context in (("refresh", 1, 8, 8), ("reuse", 2, 4, 100), ("reuse", 3, 4, 300))
    )
    twin = [*eager_step(refresh, ["a", "b"]), *eager_step(near, ["a", "b"], 100.0), *eager_step(far, ["a", "b"], 200.0)]
    labels = (
        "phase=denoise kind=reuse step=7 query=4 context=250",  # nearer to 300 in context
        "phase=denoise kind=refresh step=8 query=8 context=8",
        "phase=denoise kind=reuse step=9 query=4 context=90",
        "phase=denoise kind=commit step=10 query=4 context=90",  # no such step in the twin
        "phase=denoise kind=reuse step=11 query=16 context=90",  # no step that long
    )
    replay = [
        event for i, label in enumerate(labels) for event in replayed_step(label, ["a", "b"], 1000.0 + 100 * i, 500 + i)
    ]
    run = yield with_twin(folder, replay, twin)
    assert [module for _, module, _ in modules(run)] == [
        "m200",
        "m201",
        "m0",
        "m1",
        "m100",
        "m101",
        None,
        None,
        None,
        None,
    ]
    assert run.result.matched == (6, 18_000, 10, 30_000)
    steps = run.query("SELECT DISTINCT step FROM kernel_roofline WHERE attribution = 'graph_twin' ORDER BY 1")
    assert steps == [(7,), (8,), (9,)]


@together
def test_of_equal_steps_the_one_that_matches_best_then_the_nearest_by_number(folder: Path) -> Loading:
    twin = [
        *eager_step("phase=decode step=2", ["a", "b", "c"]),
        *eager_step("phase=decode step=5", ["a", "b", "c"], 100.0),
        *eager_step("phase=decode step=8", ["a", "x", "c"], 200.0),
        *eager_step("phase=decode step=9", ["a", "x", "c"], 300.0),
    ]
    run = yield with_twin(folder, replayed_step("phase=decode step=10", ["a", "b", "c"]), twin)
    assert [module for _, module, _ in modules(run)] == ["m100", "m101", "m102"]


@together
def test_a_twin_s_kernels_are_in_the_order_of_their_launches(folder: Path) -> Loading:
    """On two streams the second launched may start first."""
    twin = eager_step("phase=decode step=1", ["a", "b", "c"])
    first = next(event for event in twin if event["name"] == "a")
    first |= {"ts": 17.0, "args": first["args"] | {"stream": 8}}
    run = yield with_twin(folder, replayed_step("phase=decode step=1", ["a", "b", "c"]), twin)
    assert run.result.matched == (3, 9_000, 3, 9_000)


@together
def test_a_stretch_is_compact(folder: Path) -> Loading:
    """A kernel that the twin's step lacks is not taken from the step before."""
    step = [f"k{i}" for i in range(30)]
    twin = [*eager_step("", [*step[5:25], "k0", "y", "z"]), *eager_step("", step[1:], 1000.0)]
    run = yield with_twin(folder, replayed_step("", step), twin)
    assert [module for _, module, _ in modules(run)] == [None, *(f"m{1000 + i}" for i in range(29))]


@together
def test_graphs_of_one_step_follow_each_other(folder: Path) -> Loading:
    """Graphs of a layer each, with a kernel launched between them: the step is aligned as a whole."""
    label = "phase=decode step=1"
    twin = eager_step(label, ["a", "b", "eager", "a", "b"])
    replay = [
        *replayed_step(label, ["a", "b"], 0.0, 21),
        kineto.launch(13.0, 22), kineto.kernel("eager", 14.0, 1.0, 22),
        kineto.launch(15.0, 23, "cudaGraphLaunch"),
        *(kineto.kernel(name, at, 1.0, 23) for name, at in (("a", 16.0), ("b", 17.0))),
    ]  # fmt: skip
    run = yield with_twin(folder, replay, twin)
    assert modules(run) == [
        ("a", "m0", "graph_twin"), ("b", "m1", "graph_twin"),
        ("eager", None, "unattributed"),
        ("a", "m3", "graph_twin"), ("b", "m4", "graph_twin"),
    ]  # fmt: skip


@pytest.mark.parametrize("labelled_twin", [False, True])
@together
def test_without_labels_replays_take_the_stretches_that_match_in_turn(folder: Path, labelled_twin: bool) -> Loading:
    prefill, decode = [f"p{i % 7}" for i in range(40)], [f"d{i % 7}" for i in range(40)]
    steps = [prefill, decode, decode]
    label = "phase=x step=1" if labelled_twin else ""
    twin = [event for i, step in enumerate(steps) for event in eager_step(label, step, 1000.0 * i)]
    replays = [decode, decode, prefill, decode]
    replay = [event for i, step in enumerate(replays) for event in replayed_step("", step, 1000.0 * i, 500 + i)]
    run = yield with_twin(folder, replay, twin)
    expected = [f"m{1000 * step + i}" for step in (1, 2, 0, 1) for i in range(40)]
    assert [module for _, module, _ in modules(run)] == expected


@together
def test_another_step_s_twin_teaches_nothing(folder: Path) -> Loading:
    twin = eager_step("phase=decode step=1", ["a", "x", "y", "z", "b"])
    run = yield with_twin(folder, replayed_step("phase=decode step=1", ["a", "p", "q", "r", "b"]), twin)
    assert run.result.matched == (0, 0, 5, 15_000)
    assert {attribution for _, _, attribution in modules(run)} == {"unattributed"}


@together
def test_what_the_replay_s_own_thread_says_holds_where_the_twin_says_nothing(folder: Path) -> Loading:
    label = "phase=decode step=1"
    twin = eager_step(label, ["a", "b"])
    twin.remove(next(event for event in twin if event["name"] == "module=m1"))
    replay = [*replayed_step(label, ["a", "b"]), kineto.annotation("module=model", 0.5, 15.0)]
    run = yield with_twin(folder, replay, twin)
    assert [module for _, module, _ in modules(run)] == ["m0", "model"]


@together
def test_a_kernel_the_replay_lacks_keeps_its_share(folder: Path) -> Loading:
    """The reduction of a split product carries nothing, even where the product itself is missing."""
    names = ["void cublasLt::splitKreduce_kernel", "void at::native::vectorized_elementwise_kernel"]
    run = yield with_twin(folder, replayed_step("phase=decode step=3", names), kineto.matmul_step())
    assert run.query("SELECT attribution, flops FROM kernel_roofline ORDER BY start_ns") == [
        ("graph_twin", 0),
        ("graph_twin", 128),
    ]


@together
def test_where_a_fill_lies_does_not_matter(folder: Path) -> Loading:
    twin = eager_step("phase=decode step=1", ["a", "Memset (Device)"])
    run = yield with_twin(folder, replayed_step("phase=decode step=1", ["a", "Memset (Unknown)"]), twin)
    assert run.result.matched == (2, 6_000, 2, 6_000)


def test_the_order_of_events_changes_nothing(tmp_path: Path) -> None:
    kernels = ["a", "b", "a", "c", "a", "b"]
    twin = [event for i in range(2) for event in eager_step(f"phase=decode step={i}", kernels, 100.0 * i)]
    replay = [
        event for i in range(2) for event in replayed_step(f"phase=decode step={i}", kernels[i:-1], 100.0 * i, 50 + i)
    ]
    found = []
    for seed in range(4):
        folder = tmp_path / str(seed)
        folder.mkdir()
        if seed:
            random.Random(seed).shuffle(replay)
            random.Random(seed + 1).shuffle(twin)
        load(folder, folder / "w.duckdb", replay, twin)
        sql = "SELECT attribution, * EXCLUDE (run_id) FROM kernel_roofline ORDER BY start_ns"
        found.append(query(folder / "w.duckdb", sql))
    assert len(found[0]) == 9
    assert {row[0] for row in found[0]} == {"graph_twin"}
    assert found[1:] == found[:1] * 3


# Kernels missing and extra.


@examples("warehouse")
@given(data=st.data(), layers=st.integers(2, 6), seed=st.integers(0, 1 << 30))
def test_removed_and_inserted_kernels_leave_the_rest_aligned(
    data: st.DataObject, layers: int, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Each kernel's own module, where all names differ; as many of them and the same names, where layers repeat."""
    repeat = data.draw(st.booleans())
    kernels = [f"k{i % 5 if repeat else i}" for i in range(5 * layers)]
    draw = random.Random(seed)
    kept = [i for i in range(len(kernels)) if draw.random() < 0.8]
    taught = sorted({*kept, *(i for i in range(len(kernels)) if draw.random() < 0.8)})  # the twin lacks some as well
    replay: list[tuple[str, str | None]] = [(kernels[i], f"m{taught.index(i)}") for i in kept]
    for i in range(draw.randrange(1 + len(kept) // 4)):
        replay.insert(draw.randrange(len(replay) + 1), (f"extra{i}", None))
    twin = [
        *eager_step("phase=decode step=1", [kernels[i] for i in taught]),
        *eager_step("phase=prefill step=0", kernels, 1000.0),
    ]
    folder = tmp_path_factory.mktemp("p")
    events = replayed_step("phase=decode step=4", [name for name, _ in replay])
    result = load(folder, folder / "w.duckdb", events, twin)
    assert result.matched == (len(kept), 3_000 * len(kept), len(replay), 3_000 * len(replay))
    found = modules(folder / "w.duckdb")
    if not repeat:
        assert [(name, module) for name, module, _ in found] == replay
    assert [attribution == "graph_twin" for *_, attribution in found] == [module is not None for _, module in replay]
    assert_conserved(folder / "w.duckdb", 3_000 * len(replay))


@together
def test_without_labels_too(folder: Path) -> Loading:
    """Three steps, the second of another graph, one kernel in forty missing on either side: whole steps match."""
    draw = random.Random(5)
    twin, replay = [], []
    for number, at in enumerate((0.0, 1000.0, 2000.0)):
        step = ["head", *(f"k{(-i if number == 1 else i) % 11}" for i in range(88)), "tail"]
        events = eager_step("", step, at)
        twin += [event for event in events if event["cat"] != "kernel" or draw.random() > 1 / 40]
        kept = [name for name in step if draw.random() > 1 / 40]
        replay += replayed_step("", kept, at, 5000 + number)
    run = yield with_twin(folder, replay, twin)
    assert run.result.matched
    assert 270 > run.result.matched.of_kernels > run.result.matched.kernels > 0.94 * run.result.matched.of_kernels
    steps = run.query(
        "SELECT DISTINCT start_ns // 1000000, CAST(substr(module, 2) AS INTEGER) // 1000 FROM kernel_roofline"
        " WHERE module IS NOT NULL ORDER BY ALL",
    )
    assert len(steps) == 3
    assert [of == 1 for _, of in steps] == [False, True, False]


# Files.


def test_a_twin_that_changes_replaces_the_run(tmp_path: Path, warehouse: Path) -> None:
    label = "phase=decode step=1"
    folder = run_directory(tmp_path / "a", RUN_JSON, trace=False)
    kineto.write(folder / "trace.json.gz", replayed_step(label, ["a", "b"]))
    outcomes = [analyze([folder], warehouse)[0].outcome]
    for kernels in (["a", "x"], ["a", "b"]):
        kineto.write(folder / "trace.twin.json.gz", eager_step(label, kernels))
        outcomes += [analyze([folder], warehouse)[0].outcome]
    outcomes += [analyze([folder], warehouse)[0].outcome]
    assert outcomes == ["loaded", "replaced", "replaced", "unchanged"]
    entries = query(warehouse, "SELECT entry, kernels, duration_ns FROM ledger WHERE account = 'attribution'")
    assert entries == [("graph_twin", 2, 6_000)]
    (folder / "trace.twin.json.gz").unlink()
    assert analyze([folder], warehouse)[0].outcome == "replaced"
    assert {attribution for *_, attribution in modules(warehouse)} == {"unattributed"}


def test_a_twin_is_named_for_a_trace(tmp_path: Path, warehouse: Path) -> None:
    label = "phase=decode step=1"
    replay = kineto.write(tmp_path / "r.json", replayed_step(label, ["a", "b"]))
    twin = kineto.write(tmp_path / "other.json", eager_step(label, ["a", "b"]))
    assert [r.outcome for r in analyze([replay], warehouse)] == ["loaded"]
    (result,) = analyze([replay], warehouse, twin=twin)
    assert (result.outcome, result.matched) == ("replaced", (2, 6_000, 2, 6_000))
    with pytest.raises(TraceError, match=r"none\.json: no such file"):
        analyze([replay], warehouse, twin=tmp_path / "none.json")


@together
def test_a_trace_without_replays_does_not_read_its_twin(folder: Path) -> Loading:
    (folder / "t.twin.json").write_text("no trace")
    run = yield kineto.write(folder / "t.json", kineto.matmul_step())
    assert (run.result.outcome, run.result.matched) == ("loaded", (0, 0, 0, 0))


def test_a_damaged_twin_is_named(tmp_path: Path, warehouse: Path) -> None:
    (tmp_path / "t.twin.json").write_text("no trace")
    results = analyze([kineto.write(tmp_path / "t.json", replayed_step("", ["a"]))], warehouse)
    assert failures(results)[0].startswith(f"{tmp_path / 't.twin.json'}: not JSON")


@pytest.mark.parametrize(
    "twin",
    [
        [],
        [kineto.kernel("a", 1.0, 1.0, 3)],
        [kineto.operator("aten::mm", 1.0, 2.0, 3)],
        replayed_step("phase=decode step=1", ["a"]),
    ],
    ids=["empty", "no operators", "no kernels", "replayed too"],
)
@together
def test_a_twin_that_knows_nothing_teaches_nothing(folder: Path, twin: list[kineto.Event]) -> Loading:
    run = yield with_twin(folder, replayed_step("phase=decode step=1", ["a"]), twin)
    assert run.result.matched == (0, 0, 1, 3_000)
    assert_conserved(run, 3_000)


def test_the_command_line_names_the_twin_and_says_what_matched(tmp_path: Path) -> None:
    label = "phase=decode step=1"
    replay = kineto.write(tmp_path / "r.json", replayed_step(label, ["a", "b", "x"]))
    twin = kineto.write(tmp_path / "e.json", eager_step(label, ["a", "b"]))

    def said(*paths: Path) -> tuple[int, str, str]:
        done = ridgeline("analyze", *paths, "-w", "w.duckdb", "--twin", twin, cwd=tmp_path)
        return done.returncode, done.stdout, done.stderr

    line = (
        "r: loaded, 3 kernels, 0.009 ms of device time, the twin matched 2 of 3 replayed kernels, 66.7% of their time"
    )
    code, out, err = said(replay)
    assert (code, out, err.splitlines()[0]) == (0, "", f"ridgeline: {line}")
    assert "33.3% of device time (1 kernel or copy) is replayed from graphs and has no operator: its companions" in err
    alone = "ridgeline: --twin belongs to one trace: expected a single PATH that is a file\n"
    assert said(replay, twin) == said(tmp_path) == (2, "", alone)


def test_what_matched_is_stored(tmp_path: Path, warehouse: Path) -> None:
    columns = "SELECT twin_matched_kernels, twin_matched_ns, twin_kernels, twin_ns FROM runs"
    replay = replayed_step("phase=decode step=1 kind=decode", ["a", "b", "strange"])
    result = load(tmp_path, warehouse, replay, eager_step("phase=decode step=1 kind=decode", ["a", "b"]))
    assert result.matched
    assert (result.matched.kernels, result.matched.of_kernels) == (2, 3)
    assert query(warehouse, columns) == [tuple(result.matched)]
    analyze([kineto.write(tmp_path / "plain.json", replay[:-1])], tmp_path / "plain.duckdb")
    assert query(tmp_path / "plain.duckdb", columns) == [(None, None, None, None)]


def test_other_tables_are_as_without_a_twin(tmp_path: Path, warehouse: Path) -> None:
    """The twin's steps and devices do not become the run's."""
    replay = replayed_step("phase=decode step=1 kind=decode", ["a"])
    plain = tmp_path / "plain"
    plain.mkdir()
    analyze([kineto.write(plain / "r.json", replay)], plain / "w.duckdb")
    load(tmp_path, warehouse, replay, eager_step("phase=decode step=1 kind=decode", ["a"]))
    before, after = dump(plain / "w.duckdb"), dump(warehouse)
    assert before["steps"] == after["steps"] != []
    assert before["devices"] == after["devices"] != []
    connection = connect(warehouse, read_only=True)
    assert connection.execute("SELECT count(*) FROM operators").fetchone() == (1,)
    connection.close()
