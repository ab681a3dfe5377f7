"""What the study's figures draw of rows, one by one."""

from __future__ import annotations

from typing import Any

import pytest

from ridgeline.reports.figures import families
from ridgeline.reports.figures.machine import Machine
from ridgeline.reports.study.drawings import parity, run_bars, speedup, step_roofline, throughput, trends, waterfall
from ridgeline.reports.study.drawings.settings import SETTINGS, labelled_groups

RUN = {
    "run_id": "r",
    "name": "a run",
    "device": "D",
    "model": "m",
    "mode": "dlm_block_dual",
    "execution": "eager",
    "dtype": "bf16",
    "batch": 1,
    "prompt_tokens": 8,
    "generated_tokens": 4,
    "block": 2,
    "options": "",
    "experiment": None,
}


def bar(place: int, component: str, item: str, value_ns: float, start_ns: float, **more: Any) -> dict[str, Any]:
    end_ns = start_ns + value_ns
    found = {"place": place, "component": component, "item": item, "value_ns": value_ns, "start_ns": start_ns}
    return RUN | found | {"end_ns": end_ns, "measured_ns": 70_000.0, "steps": 4} | more


def test_a_waterfalls_bars_hang_where_the_one_before_ends() -> None:
    """Also one that makes the step shorter, which hangs from its end."""
    rows = [
        bar(3, "host", "gaps and host", -10_000.0, 80_000.0),
        bar(1, "ideal", "reuse", 50_000.0, 0.0),
        bar(2, "family", "matmul", 30_000.0, 50_000.0),
    ]
    (panel,) = waterfall.gap(rows, [])
    trace, text = panel.spec["data"]
    assert trace["y"] == ["ideal reuse step", "matmul beyond its roof", "gaps and host", "measured step"]
    assert trace["base"] == pytest.approx([0, 50e-6, 70e-6, 0])
    assert trace["x"] == pytest.approx([50e-6, 30e-6, 10e-6, 70e-6])
    assert [line.strip() for line in text["text"]] == ["50 µs", "+30 µs", "−10 µs", "70 µs"]
    assert trace["marker"]["color"][1] == families.color("matmul")
    assert panel.notes == ("a run: a generation of 4 steps.",)


def test_a_waterfall_of_blocks_with_a_dual_cache_comes_first() -> None:
    rows = [
        bar(1, "ideal", "decode", 1.0, 0.0, run_id="a", mode="ar", execution="cuda_graph"),
        bar(1, "ideal", "reuse", 1.0, 0.0, run_id="b"),
    ]
    assert [panel.title for panel in waterfall.gap(rows, [])] == ["dlm_block_dual · eager", "ar · cuda_graph"]


def test_runs_alike_in_every_setting_stay_apart() -> None:
    drawn = RUN | {"mean_power_w": 300.0, "telemetry_s": 2.0}
    rows = [drawn | {"run_id": "a", "joules_per_token": 2.0}, drawn | {"run_id": "b", "joules_per_token": 3.0}]
    (panel,) = run_bars.energy(rows, [])
    (trace,) = panel.spec["data"]
    assert trace["y"] == ["dlm_block_dual · eager (1)", "dlm_block_dual · eager (2)"]
    assert trace["x"] == [3.0, 2.0]
    assert trace["text"] == ["3 J at 300 W", "2 J at 300 W"]


def test_the_roofline_marks_kind_and_execution() -> None:
    timed = {
        "flops": 1e9,
        "dram_bytes": 1e8,
        "bytes_source": "counter",
        "intensity": 10.0,
        "step_ns": 1e6,
        "floor_ns": 5e5,
    }
    rows = [
        RUN | timed | {"kind": kind, "execution": execution, "achieved_flops_per_s": 1e12}
        for kind, execution in (("reuse", "eager"), ("refresh", "compile"), ("commit", "cuda_graph"))
    ]
    (panel,) = step_roofline.roofline(rows, [], {"D": Machine("D", ())})
    (trace,) = panel.spec["data"]
    assert (trace["x"], trace["y"]) == ([10.0] * 3, [1e12] * 3)
    assert trace["marker"]["symbol"] == ["diamond-open", "triangle-up", "cross-open-dot"]
    assert "1 ms unprofiled, at the roofs 500 µs by closed form" in trace["text"][0]
    assert panel.notes[0] == "Marks: refresh triangle, reuse diamond, commit cross."


def test_closed_forms_and_traces_agree_on_the_diagonal() -> None:
    point = RUN | {"kind": "reuse", "query": 2, "context": 12.0, "component": "linear", "predicted_intensity": 30.0}
    rows = [point | {"convention": c, "intensity": i} for c in ("as_authored", "corrected") for i in (31.0, None)]
    first, second = parity.costs(rows, [])
    assert (first.title, second.title) == ("corrected", "as_authored")
    diagonal, trace = first.spec["data"]
    assert diagonal["x"] == diagonal["y"] == [10.0, 100.0]
    assert (trace["name"], trace["x"], trace["y"]) == ("linear", [30.0], [31.0])
    assert first.notes[1] == "1 of 2 points left out: no intensity by trace."


def test_a_speed_up_stands_beside_the_papers_range() -> None:
    levels = ["ideal step", "measured"]
    rows = [
        RUN | {"stage": i, "level": level, "speedup": 6.0 - i, "naive_name": "n", "naive_run_id": "n"}
        for i, level in enumerate(levels)
    ]
    mark = {"what": "w", "low": 2.0, "high": 3.0, "unit": "times", "device": "A6000"}
    (panel,) = speedup.speedup(list(reversed(rows)), [mark])
    ladder, paper = panel.spec["data"]
    assert list(zip(ladder["x"], ladder["y"], strict=True)) == [("ideal step", 6.0), ("measured", 5.0)]
    assert (paper["x"], paper["y"], paper["error_y"]["array"]) == (["measured"], [2.5], [0.5])
    assert paper["name"] == "paper: A6000"


def test_labels_say_no_more_than_tells_apart() -> None:
    """The block says nothing that the mode has not said; options do."""
    rows = [RUN, RUN | {"options": "faithful"}, RUN | {"mode": "ar", "block": None, "batch": 1}]
    assert [label for label, _ in labelled_groups(rows, SETTINGS)] == [
        "ar",
        "dlm_block_dual",
        "dlm_block_dual · faithful",
    ]


def test_names_are_text() -> None:
    rows = [bar(1, "ideal", "<img src=x>", 1.0, 0.0)]
    (panel,) = waterfall.gap(rows, [])
    assert panel.spec["data"][0]["y"][0] == "ideal &lt;img src=x&gt; step"


def test_a_projected_latency_has_an_open_mark_and_says_so() -> None:
    naive = RUN | {"mode": "dlm_full", "block": None, "tokens_per_step": 1.0, "repeats": 3}
    rows = [
        naive | {"generated_tokens": 8, "latency_ns": 4e9, "low_ns": 4e9, "high_ns": 4e9, "projected_from": 2},
        naive | {"generated_tokens": 4, "latency_ns": 1e9, "low_ns": 1e9, "high_ns": 1e9, "projected_from": None},
    ]
    (panel,) = trends.latency(rows, [])
    (line,) = panel.spec["data"]
    assert line["x"] == [4, 8]
    assert line["marker"]["symbol"] == ["circle", "circle-open"]
    assert ["projected: 2 steps" in text for text in line["text"]] == [False, True]


def test_held_clocks_are_said_of_the_panel_and_of_the_point() -> None:
    point = RUN | {"latency_ns": 4e9, "low_ns": 4e9, "high_ns": 4e9, "repeats": 3, "tokens_per_step": 1.0}
    rows = [
        point | {"generated_tokens": 4, "throttled_share": 0.0},
        point | {"generated_tokens": 8, "throttled_share": 0.25, "run_id": "s"},
    ]
    (panel,) = trends.latency(rows, [])
    assert panel.notes[-1] == "Clocks were throttled at times (power cap, heat) in 1 of 2 runs."
    assert ["throttled in 25 %" in text for text in panel.spec["data"][0]["text"]] == [False, True]


def timed(**more: Any) -> dict[str, Any]:
    found = {"latency_ns": 1e6, "low_ns": None, "high_ns": None, "tokens_per_s": 1.0, "low_tokens_per_s": None}
    return RUN | found | {"high_tokens_per_s": None, "tokens_per_step": 1.0, "steps": None, "capacity_bytes": 0} | more


def test_tokens_a_step_and_options_are_said_even_where_the_block_tells_series_apart() -> None:
    rows = [
        timed(run_id=f"{block} {g}", block=block, tokens_per_step=tokens, options=options, generated_tokens=g)
        for block, tokens, options in ((32, 1.0, ""), (128, 42.7, "s32-32-64"))
        for g in (128, 512)
    ]
    (panel,) = trends.latency(rows, [])
    assert [trace["name"] for trace in panel.spec["data"]] == [
        "block 32 · 1 token a step",
        "block 128 · s32-32-64 · 42.7 tokens a step",
    ]


def test_steps_stand_beside_whole_models_alone() -> None:
    ar = {"mode": "ar", "block": None, "tokens_per_step": None}
    rows = [timed(run_id=str(steps), steps=steps) for steps in (2, 8)]
    rows += [timed(run_id="whole", **ar), timed(run_id="part", options="layers8", **ar)]
    rows += [timed(run_id="of a part", options="layers8", steps=8)]
    (panel,) = trends.steps(rows, [])
    levels = [trace["name"] for trace in panel.spec["data"] if "any number" in trace["name"]]
    assert levels == ["ar · eager, any number of steps"] * 2


def test_the_drawing_with_the_most_places_comes_first_and_few_settings_without_one_are_named() -> None:
    """Prompt 16 has three batches; prompt 8 has but two, though more runs; ten more prompts have one batch each."""
    rows = [
        timed(
            run_id=f"a{batch}",
            prompt_tokens=16,
            batch=batch,
            intensity=1.0,
            kind="reuse",
            predicted_intensity=1.0,
            length=8,
        )
        for batch in (1, 4, 16)
    ]
    rows += [
        row | {"run_id": f"{mode}{row['run_id']}", "prompt_tokens": 8, "mode": mode}
        for row in rows[:2]
        for mode in ("dlm_full", "dlm_semi_ar", "dlm_block_dual")
    ]
    rows += [rows[0] | {"run_id": f"alone {prompt}", "prompt_tokens": prompt} for prompt in range(100, 110)]
    panels = trends.batches(rows, [])
    assert [panel.title for panel in panels] == ["prompt 16", "prompt 8"]
    named = "; ".join(f"prompt {prompt} (1 runs)" for prompt in range(100, 106))
    assert panels[0].notes[-1] == f"No figure of: {named}; 4 others."


def test_of_waterfalls_alike_that_at_the_usual_lengths_comes_first() -> None:
    rows = [
        bar(1, "ideal", "reuse", 1.0, 0.0, run_id=f"{block} {i}", block=block, tokens_per_step=i)
        for block, runs in ((128, 1), (32, 2))
        for i in range(runs)
    ]
    assert [panel.title.split(" · ")[0] for panel in waterfall.gap(rows, [])] == ["block 32", "block 32", "block 128"]


def test_memory_of_a_batch_that_ran_twice_stands_once() -> None:
    memory = {"outcome": "ok", "weights_bytes": 5, "cache_bytes": 0, "message": None}
    rows = [
        timed(run_id=f"{i}", batch=batch, peak_memory_bytes=5 + i, other_bytes=i, **memory)
        for i, batch in enumerate((4, 1, 1))
    ]
    (panel,) = throughput.throughput(rows, [])
    bars = {
        trace["name"]: list(zip(trace["x"], trace["y"], strict=True))
        for trace in panel.spec["data"]
        if trace["type"] == "bar"
    }
    assert bars["weights"] == [(0.0, 5), (2.0, 5)]
    assert bars["activations and the rest"] == [(0.0, 2), (2.0, 0)]
