"""Graph replays and the traces of their capture: launches without kernels, paired with the kernels of each replay."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ridgeline.analyze.errors import TraceError
from ridgeline.analyze.ingest import Result, analyze
from ridgeline.analyze.replays.kernel_names import identifier
from tests.analyze import kineto
from tests.analyze.loading import failures
from tests.analyze.together import Loading, Loadings, Run, asked, together
from tests.command_line import ridgeline

BF16 = "c10::BFloat16"
COPY, FILL = "copy", "fill"
CUDA = {COPY: "cudaMemcpyAsync", FILL: "cudaMemsetAsync"}
HIP = {COPY: "hipMemcpyAsync", FILL: "hipMemsetAsync"}
Nodes = Sequence[str]


def capture(
    nodes: Nodes, start_us: float = 0.0, *, rows: int = 4, layer: str = "m", named: bool = False
) -> list[kineto.Event]:
    """One graph's capture: an operator and a launch for each node, with the kernel's name as ROCm writes it."""
    runtime = "hip" if named else "cuda"
    events = [kineto.launch(start_us, int(start_us) + 9001, f"{runtime}StreamBeginCapture")]
    for i, node in enumerate(nodes):
        at, number = start_us + 10.0 * (i + 1), int(start_us) + i + 1
        call = (HIP if named else CUDA).get(node, f"{runtime}LaunchKernel")
        launch = kineto.launch(at + 3.0, number, call)
        if named and node not in HIP:
            launch["args"]["kernel"] = node
        events += [
            kineto.annotation(f"module={layer}{i}", at, 9.0),
            kineto.operator("aten::mm", at + 1.0, 6.0, number, [[rows, 8], [8, 16 * (i + 1)]], [BF16, BF16]),
            launch,
        ]
    end_us = start_us + 10.0 * (len(nodes) + 1)
    names = ("StreamEndCapture", "GraphInstantiate")
    return events + [
        kineto.launch(end_us + 2.0 * k, int(end_us) + 9100 + k, runtime + name) for k, name in enumerate(names)
    ]


def replay(
    nodes: Nodes, start_us: float, label: str = "", *, correlation: int | None = None, stream: Sequence[int] = ()
) -> list[kineto.Event]:
    """One replay of a graph, 3 us for each node."""
    correlation = int(start_us) + 50_001 if correlation is None else correlation
    events = [kineto.annotation(label, start_us, 4.0)] if label else []
    events.append(kineto.launch(start_us + 1.0, correlation, "cudaGraphLaunch"))
    for i, node in enumerate(nodes):
        args: dict[str, Any] = {"stream": stream[i]} if stream else {}
        at = start_us + 5.0 + 4.0 * i
        if node == COPY:
            args |= {"category": "gpu_memcpy", "bytes": 64}
            events.append(kineto.kernel("Memcpy DtoD (Device -> Device)", at, 3.0, correlation, **args))
        elif node == FILL:
            events.append(
                kineto.kernel("Memset (Device)", at, 3.0, correlation, category="gpu_memset", bytes=64, **args)
            )
        else:
            events.append(kineto.kernel(node, at, 3.0, correlation, **args))
    return events


def with_capture(folder: Path, events: list[kineto.Event], captured: list[kineto.Event]) -> Path:
    """Write a trace and that of its graphs' capture."""
    kineto.write(folder / "r.capture.json.gz", captured)
    return kineto.write(folder / "r.json", events)


def modules(run: Run | Path) -> list[str | None]:
    """The module of each activity, as they ran."""
    return [module for (module,) in asked(run)("SELECT module FROM kernel_roofline ORDER BY start_ns")]


def lines(result: Result) -> list[str]:
    """The warnings about capture traces."""
    return [line for line in result.warnings if "captur" in line and "and has no operator" not in line]


@together
def test_launches_without_names_pair_in_order(folder: Path) -> Loading:
    nodes = ["gemm", COPY, "attend", FILL, "gemm"]
    warm_up = [
        kineto.operator("aten::relu", -50.0, 9.0, 7001),
        kineto.launch(-48.0, 7001),
        kineto.kernel("warm", -30.0, 2.0, 7001),
    ]
    # of a driver's call inside a runtime's call, one node is made
    inner = {**kineto.launch(13.2, 8001, "cuLaunchKernel", "cuda_driver"), "dur": 0.5}
    events = [*replay(nodes, 0.0, "phase=decode step=1"), *replay(nodes, 100.0, "phase=decode step=2")]
    run = yield with_capture(folder, events, [*warm_up, *capture(nodes), inner])
    assert run.result.matched == (10, 30_000, 10, 30_000)
    assert lines(run.result) == []
    rows = run.query(
        "SELECT kernel, operator, module, step, attribution, confidence, flops, dram_bytes, dram_bytes_source"
        " FROM kernel_roofline ORDER BY start_ns",
    )
    expected = []
    for step in (1, 2):
        for i, kernel in enumerate(["gemm", "Memcpy DtoD (Device -> Device)", "attend", "Memset (Device)", "gemm"]):
            n = 16 * (i + 1)
            moved = {1: (0, 128, "trace"), 3: (0, 64, "trace")}
            price = moved.get(i, (2 * 4 * 8 * n, 2 * (4 * 8 + 8 * n + 4 * n), "compulsory"))
            expected.append((kernel, "aten::mm", f"m{i}", step, "graph_capture", "high", *price))
    assert rows == expected
    assert run.query("SELECT entry, kernels, duration_ns FROM ledger WHERE account = 'attribution'") == [
        ("graph_capture", 10, 30_000)
    ]
    assert run.query("SELECT count(*), count(DISTINCT operator_id), min(share) FROM kernels") == [(10, 10, 0.0)]
    assert run.query("SELECT twin_matched_kernels, twin_matched_ns, twin_kernels, twin_ns FROM runs") == [
        (10, 30_000, 10, 30_000)
    ]


@together
def test_kernels_of_one_operator_share_its_cost_by_their_own_time(folder: Path) -> Loading:
    captured = capture(["a", "b"])
    # both launches under the first operator
    first = next(event for event in captured if event["name"] == "aten::mm") | {"dur": 15.0}
    captured = [first, *(event for event in captured if event["cat"] == "cuda_runtime")]
    events = replay(["a", "b"], 0.0)
    events[-1]["dur"] = 9.0
    run = yield with_capture(folder, events, captured)
    assert run.query("SELECT kernel, flops FROM kernel_roofline ORDER BY start_ns") == [("a", 256), ("b", 768)]


@pytest.mark.parametrize(
    ("replayed", "found"),
    [
        (["a", "b", "c", "d"], "of 4 kernels 0 match the 3 launches of a graph (r.capture.json.gz)"),
        (["a", COPY, "c"], "of 3 kernels 2 match the 3 launches of a graph (r.capture.json.gz)"),
    ],
)
@together
def test_launches_without_names_must_agree_in_number_and_copies(folder: Path, replayed: Nodes, found: str) -> Loading:
    run = yield with_capture(
        folder, [*replay(replayed, 0.0), *replay(["a", "b", "c"], 100.0)], capture(["a", "b", "c"])
    )
    assert run.result.matched
    assert run.result.matched.kernels == 3
    assert lines(run.result) == [
        f"1 of 2 graph replays learned no operators: {found}: expected 95%: the capture is of another graph or batch, "
        "name the right one with --capture"
    ]
    assert modules(run) == [None] * len(replayed) + ["m0", "m1", "m2"]


@pytest.mark.parametrize(("missing", "matched"), [(1, 39), (2, 38), (3, 0)])
@together
def test_launches_with_names_match_by_95_percent(folder: Path, missing: int, matched: int) -> Loading:
    nodes = [f"k{i % 7}" for i in range(40)]
    run = yield with_capture(folder, replay(nodes[missing:], 0.0), capture(nodes, named=True))
    assert run.result.matched
    assert run.result.matched.kernels == matched
    assert len(lines(run.result)) == (matched == 0)
    expected = [f"m{i}" for i in range(missing, 40)] if matched else [None] * (40 - missing)
    assert modules(run) == expected


@together
def test_names_are_compared_mangled_or_not_and_copies_by_kernels(folder: Path) -> Loading:
    captured = ["_ZN2vm4normILi8EEEvPi", "void vm::gemm<4>(float*)", COPY, FILL, "plain.kd"]
    replayed = [
        "void vm::norm<8>(int*)", "_ZN2vm4gemmILi4EEEvPf", "__amd_rocclr_copyBuffer", "__amd_rocclr_fillBufferAligned",
        "plain",
    ]  # fmt: skip
    run = yield with_capture(folder, replay(replayed, 0.0), capture(captured, named=True))
    assert run.result.matched == (5, 15_000) * 2
    assert modules(run) == [f"m{i}" for i in range(5)]


@pytest.mark.parametrize(
    ("kernel", "name"),
    [
        ("_ZN5aiter24add_rmsnorm_quant_kernelIDF16bLi64EEEvPT0_", "aiter::add_rmsnorm_quant_kernel"),
        ("void aiter::add_rmsnorm_quant_kernel<_Float16, 64>(float*)", "aiter::add_rmsnorm_quant_kernel"),
        ("_ZN12_GLOBAL__N_113store_kvcacheILl8EEEvi", "{anonymous}::store_kvcache"),
        ("void (anonymous namespace)::store_kvcache<8l>(int)", "{anonymous}::store_kvcache"),
        ("_Z4axpyPf", "axpy"),
        ("Cijk_Alik_Bljk_BBS_BH.kd", "Cijk_Alik_Bljk_BBS_BH"),
        ("_Z9999x", "x"),
        ("", ""),
    ],
)
def test_an_identifier_has_no_arguments(kernel: str, name: str) -> None:
    assert identifier(kernel) == name


@together
def test_kernels_that_ran_in_another_order_are_paired_by_name(folder: Path) -> Loading:
    """Two branches on two streams: captured one after the other, run side by side."""
    replayed = ["a0", "b0", "a1", "b1", "a2", "b2"]
    run = yield with_capture(
        folder,
        replay(replayed, 0.0, stream=[7, 8] * 3),
        capture(["a0", "a1", "a2", "b0", "b1", "b2"], named=True),
    )
    assert modules(run) == ["m0", "m3", "m1", "m4", "m2", "m5"]


def piecewise(sizes: Sequence[int], start_us: float = 0.0) -> list[kineto.Event]:
    """A model captured in pieces, with attention executed between them."""
    events: list[kineto.Event] = []
    for piece, size in enumerate(sizes):
        at = start_us + 1000.0 * piece
        events += capture(["k"] * size, at, layer=f"layer{piece}.")
        if piece + 1 < len(sizes):
            events += [
                kineto.operator("vllm::attention", at + 500.0, 20.0, 6000 + piece),
                kineto.launch(at + 502.0, 6000 + piece),
                kineto.kernel("attend", at + 510.0, 2.0, 6000 + piece),
            ]
    return events


@pytest.mark.parametrize("label", ["phase=decode step={}", ""])
@pytest.mark.parametrize("sizes", [(2, 3, 1), (2, 2, 2)], ids=["unlike", "alike"])
@together
def test_pieces_of_a_model_are_replayed_in_turn(folder: Path, sizes: Sequence[int], label: str) -> Loading:
    events: list[kineto.Event] = []
    for step in range(2):
        at = 5000.0 * step
        events += [kineto.annotation(label.format(step), at, 400.0)] if label else []
        for piece, size in enumerate(sizes):
            events += replay(["k"] * size, at + 100.0 * piece)
            events += [
                kineto.launch(at + 100.0 * piece + 50.0, int(at) + piece + 1),
                kineto.kernel("attend", at + 100.0 * piece + 60.0, 2.0, int(at) + piece + 1),
            ]
    run = yield with_capture(folder, events, piecewise(sizes))
    assert run.result.matched
    assert run.result.matched.kernels == run.result.matched.of_kernels == 2 * sum(sizes)
    expected = [[f"layer{piece}.{i}" for i in range(size)] for piece, size in enumerate(sizes)]
    rows = run.query("SELECT module FROM kernel_roofline WHERE kernel = 'k' ORDER BY start_ns")
    assert [module for (module,) in rows] == [module for piece in expected for module in piece] * 2


@together
def test_pieces_that_are_alike_and_cut_off_teach_nothing(folder: Path) -> Loading:
    """Of three equal pieces two were replayed: the first and the second, or the second and the third."""
    run = yield with_capture(folder, [*replay(["k"], 0.0), *replay(["k"], 100.0)], piecewise((1, 1, 1)))
    assert lines(run.result) == [
        "2 of 2 graph replays learned no operators: several captured graphs fit alike, or out of turn "
        "(r.capture.json.gz): name the capture of the right batch with --capture"
    ]
    assert modules(run) == [None, None]


@together
def test_a_recording_may_begin_within_the_pieces(folder: Path) -> Loading:
    events = [event for i, size in enumerate([2, 2, 1, 3, 2]) for event in replay(["k"] * size, 100.0 * i)]
    run = yield with_capture(folder, events, piecewise((3, 2, 2, 1)))
    expected = ["1.0", "1.1", "2.0", "2.1", "3.0", "0.0", "0.1", "0.2", "1.0", "1.1"]
    assert modules(run) == [f"layer{name}" for name in expected]


@together
def test_a_graph_out_of_turn_is_no_piece(folder: Path) -> Loading:
    """After its pieces each step replays another graph, of as many kernels as one of the pieces."""
    label, sizes = "phase=decode step={}", (3, 2, 1, 2)
    events: list[kineto.Event] = []
    for step in range(2):
        at = 5000.0 * step
        events.append(kineto.annotation(label.format(step), at, 400.0))
        events += [event for i, size in enumerate(sizes) for event in replay(["k"] * size, at + 100.0 * i)]
    run = yield with_capture(folder, events, piecewise((3, 2, 1)))
    expected = [f"layer{piece}.{i}" for piece, size in enumerate((3, 2, 1)) for i in range(size)] + [None] * 2
    assert modules(run) == expected * 2
    assert lines(run.result)[0].startswith(
        "2 of 8 graph replays learned no operators: several captured graphs fit alike, or"
    )


# Folders of captures.


def folder_of(
    parent: Path, sizes: Sequence[int] = (1, 2, 4, 8), name: str = "bs_{}_rank0.json.gz", nodes: Nodes = ("a", "b")
) -> Path:
    folder = parent / "capture_traces"
    folder.mkdir()
    for size in sizes:
        kineto.write(folder / name.format(size), capture(nodes, rows=size, layer=f"b{size}."))
    return folder


def step(requests: int) -> str:
    return f"step[DECODE bs={requests}]"


@pytest.mark.parametrize(
    ("requests", "expected"),
    [(1, ["b1.0", "b1.1"]), (3, ["b4.0", "b4.1"]), (8, ["b8.0", "b8.1"]), (9, [None, None])],
)
@together
def test_a_replay_is_of_the_smallest_batch_that_holds_its_step(
    folder: Path, requests: int, expected: list[str | None]
) -> Loading:
    folder_of(folder)
    run = yield kineto.write(folder / "r.json", replay(["a", "b"], 0.0, step(requests)))
    assert modules(run) == expected
    line = (
        "1 of 1 graph replays learned no operators: the step has 9 requests, captured are batches of 1, 2, 4, 8: "
        "record the capture of that batch"
    )
    assert lines(run.result) == [line][: expected == [None, None]]


def test_without_a_batch_graphs_that_fit_alike_teach_nothing(tmp_path: Path, warehouse: Path) -> None:
    folder = folder_of(tmp_path, sizes=(1, 2))
    trace = kineto.write(tmp_path / "r.json", replay(["a", "b"], 0.0, "phase=decode step=1"))
    (result,) = analyze([trace], warehouse)
    assert modules(warehouse) == [None, None]
    assert lines(result) == [
        "1 of 1 graph replays learned no operators: several captured graphs fit alike, or out of turn "
        "(bs_1_rank0.json.gz, bs_2_rank0.json.gz): name the capture of the right batch with --capture"
    ]
    (result,) = analyze([trace], warehouse, capture=folder / "bs_2_rank0.json.gz")
    assert (result.outcome, modules(warehouse)) == ("replaced", ["b2.0", "b2.1"])


@together
def test_details_and_annotations_say_tokens(folder: Path) -> Loading:
    """Files of vLLM are named by rank and time; 3 requests of 4 tokens each are a batch of 12, padded to 16."""
    captures = folder_of(folder, sizes=(4, 8), name="graph_capture_rank_0.{}.pt.trace.json.gz")
    label = kineto.annotation("capture_16_FULL", -5.0, 200.0)
    kineto.write(captures / "graph_capture_rank_0.16.pt.trace.json.gz", [label, *capture(["a", "b"], layer="b16.")])
    details = [
        {"file": f"graph_capture_rank_0.{size}.pt.trace.json.gz", "batch_size": size, "mode": "FULL"} for size in (4, 8)
    ]
    (captures / "execution_details.json").write_text(json.dumps(details))
    run = yield kineto.write(folder / "r.json", replay(["a", "b"], 0.0, "execute_context_0(0)_generation_3(12)"))
    assert (lines(run.result), modules(run)) == ([], ["b16.0", "b16.1"])


@together
def test_only_files_that_may_be_of_the_batch_are_read(folder: Path) -> Loading:
    captures = folder_of(folder, sizes=(1, 2))
    for name in ("bs_4_rank0.json", "bs_2_rank1.json", "other.json"):
        (captures / name).write_text("damaged")
    (captures / "execution_details.json").write_text("{}")
    run = yield kineto.write(folder / "r.json", replay(["a", "b"], 0.0, step(2)))
    assert modules(run) == ["b2.0", "b2.1"]
    details, other = lines(run.result)
    assert details.startswith(f"{captures / 'execution_details.json'}: ")
    assert other.startswith(f"capture trace left out: {captures / 'other.json'}: not JSON")


@together
def test_another_rank_s_capture_serves_where_the_own_is_missing(folder: Path) -> Loading:
    folder_of(folder, sizes=(2,), name="bs_{}_rank3.json.gz")
    run = yield kineto.write(folder / "r.json", replay(["a", "b"], 0.0, step(2)))
    assert modules(run) == ["b2.0", "b2.1"]


def test_captures_are_no_runs_and_change_the_run_beside_them(tmp_path: Path, warehouse: Path) -> None:
    folder = folder_of(tmp_path, sizes=(2,))
    kineto.write(tmp_path / "r.json", replay(["a", "b"], 0.0, step(2)))
    outcomes = [[(r.name, r.outcome) for r in analyze([tmp_path], warehouse)] for _ in range(2)]
    kineto.write(folder / "bs_2_rank0.json.gz", capture(["a", "b"], layer="new."))
    outcomes += [[(r.name, r.outcome) for r in analyze([tmp_path], warehouse)]]
    assert outcomes == [[("r", "loaded")], [("r", "unchanged")], [("r", "replaced")]]
    assert modules(warehouse) == ["new.0", "new.1"]
    # a file of the trace's own name comes before the folder
    kineto.write(tmp_path / "r.capture.json", capture(["a", "b"], layer="own."))
    assert [(r.name, r.outcome) for r in analyze([tmp_path], warehouse)] == [("r", "replaced")]
    assert modules(warehouse) == ["own.0", "own.1"]


@together
def test_the_twin_serves_what_the_capture_does_not(folder: Path) -> Loading:
    twin: list[kineto.Event] = []
    for i, name in enumerate(("a", "b", "x")):
        at = 10.0 * i
        twin += [
            kineto.annotation(f"module=twin{i}", at, 9.0),
            kineto.operator("aten::relu", at + 1.0, 6.0, i + 1),
            kineto.launch(at + 2.0, i + 1),
            kineto.kernel(name, at + 4.0, 2.0, i + 1, **{"External id": i + 1}),
        ]
    kineto.write(folder / "r.twin.json", twin)
    run = yield with_capture(folder, [*replay(["a", "b"], 0.0), *replay(["a", "b", "x"], 100.0)], capture(["a", "b"]))
    assert modules(run) == ["m0", "m1", "twin0", "twin1", "twin2"]
    assert run.query("SELECT entry, kernels FROM ledger WHERE account = 'attribution' ORDER BY 1") == [
        ("graph_capture", 2),
        ("graph_twin", 3),
    ]
    assert "the capture and twin matched 5 of 5 replayed kernels" in run.result.headline()


@together
def test_stacks_come_from_the_capture(folder: Path) -> Loading:
    captured = [kineto.span("python_function", "/app/model.py(12): forward", -5.0, 200.0), *capture(["a", "b"])]
    own = [kineto.span("python_function", "/app/serve.py(3): loop", -5.0, 200.0), *replay(["a", "b"], 0.0)]
    own += [kineto.launch(30.0, 77), kineto.kernel("eager", 40.0, 1.0, 77)]
    run = yield with_capture(folder, own, captured)
    stacks = (
        "SELECT kernel, source_line FROM kernels JOIN kernel_classes USING (run_id, class_id)"
        " JOIN stacks USING (run_id, stack_id)"
    )
    assert run.query(f"{stacks} ORDER BY start_ns") == [
        ("a", "/app/model.py:12"),
        ("b", "/app/model.py:12"),
        ("eager", "/app/serve.py:3"),
    ]


@together
def test_a_capture_trace_says_that_it_is_one(folder: Path) -> Loadings:
    # a recording of the capture and of its replays is no such trace
    both = [*capture(["a", "b"]), *replay(["a", "b"], 100.0), *replay(["a", "b"], 200.0)]
    alone, with_replays = yield [
        kineto.write(folder / "t.json", capture(["a", "b"])),
        kineto.write(folder / "u.json", both),
    ]
    assert lines(alone.result)[0] == (
        "the trace of a graph's capture, as serving engines write it: 2 launches without kernels: analyze the trace of "
        "the replays, with this one beside it as X.capture.json[.gz] or by --capture"
    )
    assert lines(with_replays.result) == []


def test_the_command_line_names_the_capture(tmp_path: Path) -> None:
    trace = kineto.write(tmp_path / "r.json", replay(["a", "b"], 0.0))
    captured = kineto.write(tmp_path / "c.json", capture(["a", "b"]))
    done = ridgeline("analyze", trace, "-w", "w.duckdb", "--capture", captured, cwd=tmp_path)
    line = (
        "loaded, 2 kernels, 0.006 ms of device time, the capture matched 2 of 2 replayed kernels, 100.0% of their time"
    )
    assert (done.returncode, done.stderr.splitlines()[0]) == (0, f"ridgeline: r: {line}")
    done = ridgeline("analyze", trace, captured, "-w", "w.duckdb", "--capture", captured, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (
        2, "ridgeline: --capture belongs to one trace: expected a single PATH that is a file\n"
    )  # fmt: skip
    with pytest.raises(TraceError, match=r"none: no such file or folder"):
        analyze([trace], tmp_path / "w.duckdb", capture=tmp_path / "none")


def test_a_damaged_capture_is_named(tmp_path: Path, warehouse: Path) -> None:
    (tmp_path / "r.capture.json").write_text("no trace")
    results = analyze([kineto.write(tmp_path / "r.json", replay(["a"], 0.0))], warehouse)
    assert failures(results)[0].startswith(f"{tmp_path / 'r.capture.json'}: not JSON")
    # nothing reads it where nothing is replayed
    (tmp_path / "r.json").unlink()
    (tmp_path / "t.capture.json").write_text("no trace")
    (result,) = analyze([kineto.write(tmp_path / "t.json", kineto.matmul_step())], warehouse)
    assert (result.outcome, result.matched) == ("loaded", (0, 0, 0, 0))


@together
def test_no_operator_is_orphaned(folder: Path) -> Loading:
    run = yield with_capture(folder, [*replay(["a", "b"], 0.0), *replay(["a", "b"], 100.0)], capture(["a", "b"]))
    orphans = "SELECT count(*) FROM kernels ANTI JOIN operators USING (run_id, operator_id) WHERE operator_id NOT NULL"
    assert run.query(orphans) == [(0,)]
    assert run.query("SELECT operator, start_ns, duration_ns FROM operators ORDER BY 2") == [
        ("aten::mm", 1000, 0), ("aten::mm", 1000, 0), ("aten::mm", 101000, 0), ("aten::mm", 101000, 0),
    ]  # fmt: skip


@together
def test_names_that_contradict_the_operators_refuse_an_equal_number(folder: Path) -> Loading:
    """The capture is of a graph with as many nodes, in which products stand where this one normalizes."""
    nodes = ["gemm", "rms_norm"] * 10
    captured = capture(nodes)
    calls = [event for event in captured if event["name"] == "aten::mm"]
    for call in calls[1::2]:
        call["name"] = "aten::layer_norm"
    shifted = [*nodes[1:], nodes[0]]
    run = yield with_capture(folder, [*replay(nodes, 0.0), *replay(shifted, 1000.0)], captured)
    assert modules(run) == [f"m{i}" for i in range(20)] + [None] * 20
    assert "of 20 kernels 0 match the 20 launches of a graph" in lines(run.result)[0]


@together
def test_without_begins_and_ends_graphs_are_cut_where_they_are_made_and_where_launches_run(folder: Path) -> Loading:
    captured = [event for event in piecewise((2, 3, 1)) if "Capture" not in event["name"]]
    run = yield with_capture(folder, [e for n in (3, 1, 2) for e in replay(["k"] * n, 100.0 * n)], captured)
    assert run.result.matched
    expected = ["0.0", "0.1", "1.0", "1.1", "1.2", "2.0"]
    assert sorted(filter(None, modules(run))) == [f"layer{name}" for name in expected]
