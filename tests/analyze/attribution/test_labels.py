from __future__ import annotations

from pathlib import Path

import pytest

from ridgeline.analyze.attribution.labels import (
    NOTHING,
    Label,
    StepPatternError,
    engine_annotations,
    parse,
    step_pattern,
)
from ridgeline.analyze.ingest import analyze
from tests.analyze import kineto
from tests.analyze.loading import query
from tests.analyze.together import Loading, together
from tests.command_line import ridgeline


@pytest.mark.parametrize(
    ("name", "label"),
    [
        (
            "phase=decode step=3 block=0 kind=reuse query=32 context=1152",
            Label(phase="decode", step=3, block=0, kind="reuse", query=32, context=1152),
        ),
        ("module=model.layers.0.self_attn", Label(module="model.layers.0.self_attn")),
        ("phase=decode requests=4", Label(phase="decode", requests=4)),
        ("ProfilerStep#551", Label(step=551, iteration=551)),
        ("phase=ar_decode step=x", Label(phase="ar_decode")),
        ("step=99999999999999999999999", Label()),
        ("other=1 phase=decode", Label(phase="decode")),
        ("nccl:all_reduce", NOTHING),
        ("x = 1", NOTHING),
        ("phase=decode and more", NOTHING),
        ("", NOTHING),
    ],
)
def test_names_made_of_pairs_are_labels(name: str, label: Label) -> None:
    assert parse(name) == label


def batch(phase: str | None, kind: str | None, requests: int, query: int | None, context: int | None) -> Label:
    return Label(phase=phase, kind=kind, requests=requests, query=query, context=context, tokens=query)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        # vLLM: requests and query lengths; the sum of their squares says nothing of the context
        ("execute_context_1(888_788544)_generation_0(0)", batch("prefill", "prefill", 1, 888, None)),
        ("execute_context_0(0)_generation_32(64)", batch("decode", "decode", 32, 64, None)),
        ("execute_context_2(6144)_generation_3(3)", batch("mixed", "mixed", 5, 6147, None)),
        ("execute_context_0(0)_generation_0(0)", batch(None, "idle", 0, 0, None)),
        # vLLM with details: sums of query and of key lengths over prefills and decodes
        (
            "execute_32_context_0(sq0sk0sqsq0sqsk0)_generation_32(sq32sk32785sqsq32sqsk32785)",
            batch("decode", "decode", 32, 32, 32785),
        ),
        (
            "execute_8192_context_9(sq8155sk8430sqsq1sqsk2)_generation_37(sq37sk4000sqsq37sqsk4000)",
            batch("mixed", "mixed", 46, 8192, 12430),
        ),
        # a single request is labelled as our own capture would: query 1, context its whole length
        (
            "execute_1_context_0(sq0sk0sqsq0sqsk0)_generation_1(sq1sk1152sqsq1sqsk1152)",
            batch("decode", "decode", 1, 1, 1152),
        ),
        # old vLLM: a request seen before may still be in its prefill
        ("execute_new_2_cached_0", batch("prefill", "execute", 2, None, None)),
        ("execute_new_1_cached_7", batch(None, "execute", 8, None, None)),
        # SGLang
        ("step[DECODE bs=32]", batch("decode", "decode", 32, None, None)),
        ("step[EXTEND bs=2 toks=14721]", batch("prefill", "extend", 2, 14721, None)),
        ("step[MIXED bs=2]", batch("mixed", "mixed", 2, None, None)),
        ("step[IDLE bs=0]", batch(None, "idle", 0, None, None)),
        ("step[TARGET_VERIFY bs=4]", batch("decode", "target_verify", 4, None, None)),
        ("step[DRAFT_EXTEND bs=4]", batch(None, "draft_extend", 4, None, None)),
        (
            "step[DECODE bs=64 g_sq=128 g_sqsq=256 g_sqsk=262144 g_sk=131072]",
            batch("decode", "decode", 64, 128, 131072),
        ),
        (
            "step[MIXED bs=2 c=1 g=1 c_sq=5 c_sk=8 c_sqsq=25 c_sqsk=40 g_sq=1 g_sk=12 g_sqsq=1 g_sqsk=12]",
            batch("mixed", "mixed", 2, 6, 20),
        ),
        # ATOM
        ("prefill[bs=2 tok=14721 ctx=[7803, 6918]]", batch("prefill", "prefill", 2, 14721, None)),
        ("decode[bs=117/128 tok=117 d=117 sqsq=117 sqsk=9000 sk=9000]", batch("decode", "decode", 117, 117, 9000)),
        ("decode[bs=128 tok=384 p=2 d=126]", batch("mixed", "decode", 128, 384, None)),
        # no annotations of steps
        ("execute_context_1(888_788544)", NOTHING),
        ("step[DECODE]", NOTHING),
        ("step[decode bs=3]", NOTHING),
        ("xexecute_new_1_cached_7", NOTHING),
        ("capture_32_DECODE", NOTHING),
    ],
)
def test_annotations_of_engines_are_labels(name: str, label: Label) -> None:
    assert parse(name) == label


def test_every_pattern_says_where_it_is_from_and_reads_its_own_example() -> None:
    for pattern, annotation in engine_annotations():
        assert parse(annotation.example).marks_step, annotation.example
        assert annotation.writer
        assert "/" in annotation.source
        assert not [
            other for other, _ in engine_annotations() if other is not pattern and other.fullmatch(annotation.example)
        ]


@pytest.mark.parametrize(
    ("expression", "name", "label"),
    [
        (r"train_step_(?P<step>\d+)", "my train_step_12 (rank 0)", Label(step=12)),
        (r"(?P<phase>fwd|bwd) (?P<query>\d+)/(?P<context>\d+)", "fwd 8/64", Label(phase="fwd", query=8, context=64)),
        (r"(?P<phase>fwd)|(?P<kind>eval)", "eval", Label(kind="eval")),
        (r"train|eval", "eval epoch 3", Label(kind="eval")),
        (r"n=(?P<tokens>\d+)", "batch n=7", Label(kind="n=7", tokens=7)),
        (r"step (?P<step>\w+)", "step abc", Label(kind="step abc")),
        # where it does not match, names mean what they mean without it; where it does, it wins
        (r"train|eval", "phase=decode step=3", Label(phase="decode", step=3)),
        (r"ProfilerStep#(?P<block>\d+)", "ProfilerStep#4", Label(kind="ProfilerStep#4", block=4)),
    ],
)
def test_a_pattern_of_the_user_names_steps(expression: str, name: str, label: Label) -> None:
    assert parse(name, step_pattern(expression)) == label


@pytest.mark.parametrize("expression", ["(", "(?P<x>a)", "(?P<module>a)", "", "x*", "(?P<step>"])
def test_a_pattern_that_cannot_be_used_is_a_wrong_call(expression: str, tmp_path: Path) -> None:
    with pytest.raises(StepPatternError, match=r"^--step "):
        step_pattern(expression)
    trace = kineto.write(tmp_path / "t.json", kineto.matmul_step())
    done = ridgeline("analyze", trace, "-w", tmp_path / "w.duckdb", "--step", expression)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("ridgeline: --step ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "w.duckdb").exists()


def test_another_pattern_makes_another_run(tmp_path: Path, warehouse: Path) -> None:
    events = [kineto.annotation("train 7", 0.0, 100.0), *kineto.matmul_step()[1:]]
    trace = kineto.write(tmp_path / "t.json", events)
    steps = "SELECT phase, kind, step, replayed_kernels FROM steps"
    outcomes = []
    for pattern in (None, r"train (?P<step>\d+)", r"train (?P<step>\d+)", "train", None):
        outcomes += [(analyze([trace], warehouse, step=pattern)[0].outcome, query(warehouse, steps))]
    assert outcomes == [
        ("loaded", [(None, "trace", 0, 0)]),
        ("replaced", [(None, None, 7, 0)]),
        ("unchanged", [(None, None, 7, 0)]),
        ("replaced", [(None, "train", None, 0)]),
        ("replaced", [(None, "trace", 0, 0)]),
    ]
    assert query(warehouse, "SELECT DISTINCT step FROM kernel_roofline") == [(0,)]


@together
def test_the_innermost_annotation_is_the_step_and_the_others_fill_its_gaps(folder: Path) -> Loading:
    outer = "execute_32_context_0(sq0sk0sqsq0sqsk0)_generation_32(sq32sk32785sqsq32sqsk32785)"
    events = [
        kineto.annotation(outer, 0.0, 100.0),
        kineto.annotation("step[DECODE bs=32]", 0.5, 99.0),
        *kineto.matmul_step()[1:],
    ]
    run = yield kineto.write(folder / "t.json", events)
    steps = (
        "SELECT s.phase, s.kind, s.query, s.context, s.requests, s.tokens, count(*)"
        " FROM kernels JOIN steps s USING (run_id, step_id) GROUP BY ALL"
    )
    assert run.query(steps) == [("decode", "decode", 32, 32785, 32, 32, 4)]
