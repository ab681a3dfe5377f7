"""Predictions of captured runs: rows by hand for every mode, roofs as the warehouse has them, reasons for none."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ridgeline.analyze.tables.predictions import MOST_BLOCKS, prediction_rows, roofs_of
from ridgeline.capture.configuration import points as configuration
from ridgeline.capture.configuration.forecast import forwards
from ridgeline.capture.configuration.point import Point
from tests.analyze import kineto
from tests.analyze.loading import RUN_JSON, dump, load, run_directory
from tests.analyze.together import Loading, Loadings, together
from tests.sampling import examples

DATA = Path(__file__).parents[2] / "data"
CAPTURED = sorted(DATA.glob("h200*/*/run.json"))
Size = tuple[str, int, float, int | None]


def point(**values: Any) -> Point:
    (found,) = configuration.points({"model": "tiny-llada", "prompt_tokens": 48, "generated_tokens": 32, **values})
    return found


def ceiling(resource: str, value: float, **values: str | None) -> dict[str, Any]:
    row = {"device": "a device", "level": None, "unit": None, "precision": None, "source": "measured", **values}
    return {"resource": resource, "value": value, **row}


MEASURED = [
    ceiling("compute", 1e12, unit="tensor", precision="bf16"),
    ceiling("compute", 1e9, unit="vector", precision="fp32"),
    ceiling("bandwidth", 0.5e12, level="dram"),
    ceiling("bandwidth", 1e12, level="dram"),
    ceiling("bandwidth", 9e12, level="l2"),
]


def stored(each: Point) -> dict[str, Any]:
    """A point as run.json has it."""
    labels = ("name", "experiment")
    return {key: value for key, value in msgspec.to_builtins(each).items() if key not in labels}


def rows(
    folder: Path,
    config: Mapping[str, Any],
    *,
    model: Mapping[str, Any] | None = None,
    steps: Sequence[tuple[Any, ...]] = (),
    sheet: str | None = None,
    measured: Sequence[Mapping[str, Any]] = (),
) -> tuple[list[dict[str, Any]], str | None]:
    """What comes of a run.json with this configuration and profiled steps of these kinds, queries and contexts."""
    text = json.dumps({"config": config, "model": model or {}}).encode()
    profiled = [dict(zip(("kind", "query", "context"), step, strict=True)) for step in steps]
    return prediction_rows(text, profiled, measured, sheet)


def sizes(found: Sequence[Mapping[str, Any]]) -> list[Size]:
    return [
        (row["kind"], row["query"], row["context"], row["forwards"])
        for row in found
        if (row["convention"], row["component"]) == ("corrected", "all")
    ]


# Rows by hand: tiny-llada has 4 layers of 8 heads of 32, widths of 256 and 768, 4096 tokens

LAYER = 4 * 256 * 256 + 3 * 256 * 768
LINEAR, HEAD = 2 * 4 * LAYER, 2 * 256 * 4096
"""FLOPs of a position's projections, and of its logits."""
PAIR = 4 * 4 * 256
"""FLOPs of a query and a key that see each other."""

BY_HAND: dict[str, dict[Size, tuple[int, int]]] = {
    "ar": {
        ("prefill", 48, 48.0, 1): (48 * LINEAR + HEAD, PAIR * 48 * 49 // 2),
        ("decode", 1, 49.0, 1): (LINEAR + HEAD, PAIR * 49),
        ("decode", 1, 50.0, 1): (LINEAR + HEAD, PAIR * 50),
        ("decode", 1, 65.0, 29): (LINEAR + HEAD, PAIR * 65),
    },
    "dlm_full": {("denoise", 80, 80.0, 8): (80 * (LINEAR + HEAD), PAIR * 6400)},
    "dlm_semi_ar": {
        ("denoise", 64, 64.0, 4): (64 * (LINEAR + HEAD), PAIR * 4096),
        ("denoise", 80, 80.0, 4): (80 * (LINEAR + HEAD), PAIR * 6400),
    },
    "dlm_block_prefix": {
        ("refresh", 80, 80.0, 2): (80 * (LINEAR + HEAD), PAIR * 6400),
        ("reuse", 32, 80.0, 3): (32 * (LINEAR + HEAD), PAIR * 2560),
        ("reuse", 16, 80.0, 3): (16 * (LINEAR + HEAD), PAIR * 1280),
    },
    "dlm_block_dual": {
        ("refresh", 80, 80.0, 2): (80 * (LINEAR + HEAD), PAIR * 6400),
        ("reuse", 16, 80.0, 6): (16 * (LINEAR + HEAD), PAIR * 1280),
    },
    "dlm_block_causal": {  # blocks of the prompt see themselves and those before
        ("prefill", 48, 48.0, 1): (48 * LINEAR, PAIR * (16 * 16 + 16 * 32 + 16 * 48)),
        ("reuse", 16, 64.0, 4): (16 * (LINEAR + HEAD), PAIR * 16 * 64),
        ("commit", 16, 64.0, 1): (16 * LINEAR, PAIR * 16 * 64),
        ("reuse", 16, 80.0, 4): (16 * (LINEAR + HEAD), PAIR * 16 * 80),
    },
}


@pytest.mark.parametrize("mode", BY_HAND)
def test_steps_of_every_mode_by_hand(mode: str, tmp_path: Path) -> None:
    each = point(mode=mode, block=16, steps=8)
    profiled = [("decode", 1, 49), ("decode", 1, 50)] if mode == "ar" else []
    found, why = rows(tmp_path, stored(each), steps=profiled)
    assert why is None
    flops = {
        (r["kind"], r["query"], r["context"], r["forwards"], r["component"]): r["flops"]
        for r in found
        if r["convention"] == "corrected"
    }
    assert set(sizes(found)) == set(BY_HAND[mode])
    for size, (linear, attention) in BY_HAND[mode].items():
        assert (flops[*size, "linear"], flops[*size, "attention"]) == (linear, attention)
        assert flops[*size, "products"] == linear + attention
    assert {(r["time_ns"], r["roofs"]) for r in found} == {(None, None)}


def test_a_row_is_of_one_forward(tmp_path: Path) -> None:
    each = point(mode="dlm_block_dual", block=16, steps=8, layers=2, dtype="fp32", guidance=1.5, batch=3)
    found, _ = rows(tmp_path, stored(each), measured=MEASURED)
    (row,) = (r for r in found if (r["convention"], r["kind"], r["component"]) == ("corrected", "reuse", "products"))
    (forward,) = (f for f in set(forwards.forwards(each)) if f.kind == "reuse")
    flops = 6 * (2 * 16 * (2 * LAYER) + 4 * 2 * 256 * 16 * 80 + 16 * HEAD)
    assert flops == forwards.flops(forward, each)
    assert row == {
        "model": "tiny-llada",
        "mode": "dlm_block_dual",
        "convention": "corrected",
        "kind": "reuse",
        "query": 16,
        "context": 80.0,
        "forwards": 6,
        "component": "products",
        "flops": flops,
        "bytes": forwards.dram_bytes(forward, each) - 6 * 16 * 256 * 4,
        "time_ns": flops,
        "roofs": "a device, measured",
    }
    assert row["time_ns"] > row["bytes"] / 1e12 * 1e9


def test_execution_and_variant_change_no_prediction(tmp_path: Path) -> None:
    plain, _ = rows(tmp_path, stored(point(mode="dlm_block_dual", block=16)))
    for changes in (
        {"execution": "compile"},
        {"variant": "faithful"},
        {"temperature": 1.0, "sampling": "fp64"},
        {"seed": 3},
    ):
        assert rows(tmp_path, stored(point(mode="dlm_block_dual", block=16, **changes))) == (plain, None)
    assert rows(tmp_path, stored(point(mode="dlm_block_dual", block=16)) | {"checkpoint": "elsewhere"})[0] == plain


@pytest.mark.parametrize(
    "changes",
    [{"guidance": 1.5}, {"layers": 2}, {"heads": 16}, {"kv_heads": 4}, {"batch": 2}, {"dtype": "fp32"}],
    ids=str,
)
def test_what_is_run_changes_predictions(changes: dict[str, Any], tmp_path: Path) -> None:
    plain, _ = rows(tmp_path, stored(point(mode="dlm_block_dual", block=16)))
    found, why = rows(tmp_path, stored(point(mode="dlm_block_dual", block=16, **changes)))
    assert why is None
    assert sizes(found) == sizes(plain)
    assert found != plain


def test_steps_follow_a_schedule(tmp_path: Path) -> None:
    found, _ = rows(tmp_path, stored(point(mode="dlm_block_dual", block=16, schedule=[[8, 4, 4]])))
    assert sizes(found) == [("refresh", 80, 80.0, 2), ("reuse", 16, 80.0, 4)]


@pytest.mark.parametrize("key", ["threshold", "factor"])
def test_where_confidence_decides_nobody_knows_how_many(key: str, tmp_path: Path) -> None:
    found, why = rows(tmp_path, stored(point(mode="dlm_block_dual", block=16, **{key: 0.5})))
    assert (why, sizes(found)) == (None, [("refresh", 80, 80.0, None), ("reuse", 16, 80.0, None)])
    (flops,) = (
        r["flops"] for r in found if (r["kind"], r["component"], r["convention"]) == ("reuse", "products", "corrected")
    )
    assert flops == 16 * (LINEAR + HEAD) + PAIR * 1280


@pytest.mark.parametrize("path", CAPTURED, ids=lambda path: path.parent.name)
def test_every_captured_step_has_its_prediction(path: Path) -> None:
    run = json.loads(path.read_text())
    found, why = prediction_rows(path.read_bytes(), run["window"], [], "NVIDIA H200")
    assert why is None
    keys = [(r["convention"], r["kind"], r["query"], r["context"], r["component"]) for r in found]
    assert len(set(keys)) == len(keys)
    counts: dict[str, int] = {}
    for kind, _, _, count in sizes(found):
        counts[kind] = counts.get(kind, 0) + (count or 0)
    assert counts == run["tokens"]["forwards"]
    assert {(step["kind"], step["query"], step["context"]) for step in run["window"]} <= {s[:3] for s in sizes(found)}


# Roofs


def test_measured_roofs_come_before_the_datasheets() -> None:
    fast = [ceiling("compute", 1e15, unit="tensor", precision="bf16"), *MEASURED]
    both = roofs_of(fast, "NVIDIA H200", "bf16")
    assert both is not None
    assert (both.of, both.flops_per_s("bf16"), both.bytes_per_s) == ("a device, measured", 1e15, 1e12)
    half = roofs_of(MEASURED, "NVIDIA H200", "fp16")
    assert half is not None
    assert (half.of, half.flops_per_s("fp16"), half.bytes_per_s) == (
        "NVIDIA H200, measured and datasheet",
        989.4e12,
        1e12,
    )
    sheet = roofs_of([], "NVIDIA H200", "bf16")
    assert sheet is not None
    assert (sheet.of, sheet.flops_per_s("bf16"), sheet.bytes_per_s) == ("NVIDIA H200, datasheet", 989.4e12, 4.8e12)
    assert roofs_of(MEASURED, None, "fp16") is None
    assert roofs_of(MEASURED[:1], "an abacus", "bf16") is None


# Reasons

FORM = "its configuration has an unknown form: "


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model": "somebody's"}, '''model "somebody's" is not one of the presets'''),
        (
            {"model": "tiny-diffusion-gemma", "mode": "dlm_block_causal"},
            "tiny-diffusion-gemma has experts and windows; the closed forms cover only dense decoders",
        ),
        (
            {"mode": "mine:Start"},
            "mode 'mine:Start' is not built in; the closed forms cover "
            "ar, dlm_full, dlm_semi_ar, dlm_block_prefix, dlm_block_dual, dlm_block_causal",
        ),
        ({"batch": "2"}, FORM + "Expected `int`, got `str` - at `$.config.batch`"),
        ({"batch": 0}, FORM + "Expected `int` >= 1 - at `$.config.batch`"),
        ({"sparse": 1}, FORM + "Object contains unknown field `sparse` - at `$.config`"),
        ({"block": None}, "mode dlm_block_dual needs a block"),
        ({"block": 7}, "block = 7 does not divide generated_tokens = 32; expected a divisor of 32"),
        ({"steps": None}, "mode dlm_block_dual needs either steps or a threshold or factor, and has neither"),
        ({"threshold": 0.9}, "mode dlm_block_dual needs either steps or a threshold or factor, and has both"),
        ({"heads": 3}, "heads = 3 does not divide the width 256 of tiny-llada; expected a divisor of 256"),
        (
            {"generated_tokens": 10_000_000, "block": 5_000_000},
            "prompt_tokens + generated_tokens = 10000048 exceeds the 131072 positions of tiny-llada; "
            "expected at most 131072",
        ),
        ({"generated_tokens": 5000, "block": 1, "steps": 5000}, f"5000 blocks, more than {MOST_BLOCKS}"),
        ({"mode": "ar"}, "block = 16 has no effect in mode ar"),
        ({"linear": "int8"}, "the closed forms do not cover the bytes of linear = 'int8'"),
        (
            {"mode": "dlm_full", "attention": "block_sparse", "window": 64},
            "the closed forms do not cover the pairs of window = 64",
        ),
        ({"mode": "dlm_full", "variant": "faithful"}, "variant = 'faithful' has no effect in mode dlm_full"),
    ],
    ids=str,
)  # fmt: skip
def test_a_configuration_that_is_not_ours_has_a_reason(change: dict[str, Any], reason: str, tmp_path: Path) -> None:
    config = stored(point(mode="dlm_block_dual", block=16))
    assert rows(tmp_path, config)[1] is None
    assert rows(tmp_path, config | change) == ([], reason)


def test_a_shape_in_the_configuration_is_priced_by_its_numbers(tmp_path: Path) -> None:
    table = {"layout": "llada", "hidden": 256, "layers": 4, "heads": 8, "ffn": 768, "vocabulary": 4096}
    keys = {"mode": "dlm_block_dual", "block": 16}
    mine, reason = rows(tmp_path, stored(point(model="mine", models={"mine": table}, **keys)))
    assert reason is None
    assert [{**row, "model": "tiny-llada"} for row in mine] == rows(tmp_path, stored(point(**keys)))[0]
    larger, _ = rows(tmp_path, stored(point(model="mine", models={"mine": {**table, "ffn": 1024}}, **keys)))
    assert sum(row["flops"] for row in larger) > sum(row["flops"] for row in mine)
    forged = stored(point(model="mine", models={"mine": table}, **keys))
    forged["shape"]["heads"] = 0
    assert rows(tmp_path, forged) == ([], FORM + "Expected `int` >= 1 - at `$.config.shape.heads`")


def test_a_model_or_a_step_of_another_run_has_a_reason(tmp_path: Path) -> None:
    config = stored(point(mode="dlm_block_dual", block=16))
    same = {"hidden": 256, "layers": 4, "heads": 8, "kv_heads": 8, "ffn": 768, "vocabulary": 4096}
    assert rows(tmp_path, config, model=same)[1] is None
    assert rows(tmp_path, config, model=same | {"ffn": 1024}) == ([], "the run's model has ffn = 1024, tiny-llada 768")
    assert rows(tmp_path, config, steps=[("reuse", 16, 80), (None, None, None)])[1] is None
    assert rows(tmp_path, config, steps=[("reuse", 16, 96)]) == (
        [],
        "the trace has a reuse step of query 16 and context 96, the run's configuration none",
    )


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
)
LIKELY = st.sampled_from(
    [
        0,
        1,
        2,
        7,
        16,
        48,
        4096,
        131_072,
        10_000_000,
        0.5,
        "ar",
        "dlm_full",
        "dlm_block_causal",
        "llada-8b",
        "fp32",
        [8, 8],
    ]
)


@examples("microseconds")
@given(
    changes=st.dictionaries(st.sampled_from(Point.__struct_fields__), LIKELY | ANYTHING, max_size=5),
    model=st.dictionaries(st.sampled_from(["hidden", "layers", "name"]), LIKELY | ANYTHING, max_size=2),
    roof=st.floats(min_value=5e-324, allow_infinity=False),
)
def test_whatever_is_stored_has_rows_or_one_reason(
    changes: dict[str, Any], model: dict[str, Any], roof: float, tmp_path: Path
) -> None:
    slow = [ceiling("compute", roof, unit="tensor", precision="bf16"), ceiling("bandwidth", roof, level="dram")]
    config = stored(point(mode="dlm_block_dual", block=16))
    found, why = rows(tmp_path, config | changes, model=model, measured=slow)
    assert bool(found) == (why is None)
    assert why is None or ("\n" not in why and len(why) <= 300)
    assert all(row["time_ns"] is None or 0 <= row["time_ns"] < 2**63 for row in found)


@pytest.mark.process
def test_torch_is_not_needed() -> None:
    script = "import sys, ridgeline.analyze.tables.predictions; print('torch' in sys.modules)"
    run = [sys.executable, "-c", script]
    done = subprocess.run(run, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    assert done.stdout.strip() == "False"


# Into the warehouse


def labelled(kind: str = "decode", query: int = 1, context: int = 49) -> list[kineto.Event]:
    """A product of a labelled step."""
    bf16 = "c10::BFloat16"
    return [
        kineto.annotation(f"phase=decode step=1 kind={kind} query={query} context={context}", 0.0, 100.0),
        kineto.operator("aten::mm", 5.0, 10.0, 2, [[1, 256], [256, 256]], [bf16, bf16]),
        kineto.launch(6.0, 11),
        kineto.kernel("nvjet_sm90_tst_64x8", 10.0, 4.0, 11, **{"External id": 2}),
    ]


def captured(folder: Path, each: Point, events: list[kineto.Event]) -> Path:
    run_directory(folder, RUN_JSON | {"name": folder.name, "config": stored(each)}, trace=False)
    kineto.write(folder / "trace.json.gz", events)
    return folder


@together
def test_a_run_directory_is_loaded_with_its_predictions(folder: Path) -> Loading:
    run = yield captured(folder / "ar", point(mode="ar"), labelled())
    assert (run.result.name, run.result.outcome) == ("ar", "loaded")
    rows = run.query(
        "SELECT kind, query, context, forwards, flops, bytes, time_ns, roofs FROM predictions"
        " WHERE convention = 'corrected' AND component = 'attention' ORDER BY context",
    )
    attended = 2 * 2 * 4 * 256  # bytes of a query with its output, or of a key with its value
    assert (
        rows
        == [
            (
                "prefill",
                48,
                48.0,
                1,
                PAIR * 48 * 49 / 2,
                96 * attended,
                round(96 * attended / 4.8),
                "NVIDIA H200, datasheet",
            ),
            ("decode", 1, 49.0, 1, PAIR * 49, 50 * attended, round(50 * attended / 4.8e3), "NVIDIA H200, datasheet"),
            (
                "decode",
                1,
                64.5,
                30,
                PAIR * 64.5,
                65.5 * attended,
                round(65.5 * attended / 4.8e3),
                "NVIDIA H200, datasheet",
            ),
        ]
        or rows
    )
    assert run.query("SELECT predictions_message FROM runs") == [(None,)]


@together
def test_a_run_without_predictions_says_why(folder: Path) -> Loadings:
    messages = {
        captured(folder / "other", point(mode="ar"), labelled(context=99)):
            "the trace has a decode step of query 1 and context 99, the run's configuration none",
        run_directory(folder / "unknown", RUN_JSON, trace=False): "model 'tiny' is not one of the presets",
        kineto.write(folder / "bare.json", kineto.matmul_step()): None,
    }  # fmt: skip
    runs = yield list(messages)
    for run, message in zip(runs, messages.values(), strict=True):
        assert run.query("SELECT predictions_message FROM runs") == [(message,)]
        assert run.query("SELECT * FROM predictions") == []


@together
def test_a_run_that_failed_is_predicted_too(folder: Path) -> Loading:
    """What did not fit has no trace, no timings, and no step that contradicts."""
    run_json = RUN_JSON | {"outcome": "oom", "timings": [], "memory": None, "config": stored(point(mode="dlm_full"))}
    run = yield run_directory(folder / "oom", run_json, trace=False)
    assert run.query("SELECT DISTINCT kind, query, forwards FROM predictions") == [("denoise", 80, 32)]
    assert run.query("SELECT count(*), sum(profiled_steps) FROM predicted_steps") == [(8, 0)]


def test_another_trace_of_the_name_takes_the_old_predictions_away(warehouse: Path, tmp_path: Path) -> None:
    run = captured(tmp_path / "ar", point(mode="ar"), labelled())
    load(warehouse, run)
    (run / "run.json").write_text(json.dumps(RUN_JSON | {"config": {"model": "another"}}))
    assert load(warehouse, run) == [("ar", "replaced")]
    assert dump(warehouse)["predictions"] == []


@pytest.mark.parametrize(
    "path", [p for p in CAPTURED if "dual_p64" in p.parent.name or "llama" in p.parent.name], ids=str
)
@together
def test_real_steps_are_modelled_as_predicted(path: Path) -> Loading:
    """The prices of recorded operators and the closed forms know nothing of each other.

    Compiled, the angles of rotary positions are a small product that no module tells from others.
    """
    run = yield path.parent
    products = run.query(
        "SELECT kind, component, predicted_flops, modelled_flops, flops_error, compulsory_error FROM predicted_steps"
        " WHERE convention = 'corrected' AND component IN ('linear', 'attention') AND profiled_steps > 0",
    )
    assert len({row[:2] for row in products}) == 4
    for _, _, predicted, modelled, error, _ in products:
        assert predicted == pytest.approx(modelled, rel=1e-5)
        assert error == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("path", CAPTURED[:1] + CAPTURED[-1:], ids=lambda path: path.parent.name)
@together
def test_least_times_are_at_the_roofs_of_the_warehouse(path: Path) -> Loading:
    run = yield path.parent
    rows = run.query(
        "SELECT p.time_ns, greatest(p.flops / c.value, p.bytes / b.value) * 1e9 FROM predictions p"
        " JOIN roofs c ON c.run_id = p.run_id AND c.resource = 'compute' AND c.precision = 'bf16' AND c.unit = 'tensor'"
        " JOIN roofs b ON b.run_id = p.run_id AND b.resource = 'bandwidth' AND b.level = 'dram'",
    )
    assert len(rows) == run.query("SELECT count(*) FROM predictions")[0][0] > 0
    assert all(abs(stored_ns - ns) <= 0.5 + 1e-6 for stored_ns, ns in rows)
