"""What a figure of the study says of itself: other rows, another sentence; a missing value, no claim."""

from __future__ import annotations

from typing import Any

import pytest

from ridgeline.reports.study.drawings import sentences
from ridgeline.reports.study.drawings.series import Series
from ridgeline.reports.study.drawings.settings import KEYS
from ridgeline.reports.study.drawings.trends import LATENCY

Row = dict[str, Any]


def row(**values: Any) -> Row:
    return {**dict.fromkeys(KEYS), "mode": "dlm_block_dual", "execution": "compile", **values}


def stages(*speedups: float | None, **values: Any) -> list[Row]:
    return [row(stage=i, speedup=speedup, **values) for i, speedup in enumerate(speedups, 1)]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (
            stages(6, 4, 3.9, 3.8, 3.7),
            "dlm_block_dual · compile: 3.7× the speed of the naive mode, of 6× by the ideal step. Most is lost from "
            "6× to 4×: "
            "refreshes and other kinds of step add relatively more to the block mode.",
        ),
        (
            stages(6, 5.9, 5.8, 5.7, 1.2),
            "dlm_block_dual · compile: 1.2× the speed of the naive mode, of 6× by the ideal step. Most is lost from "
            "5.7× to "
            "1.2×: gaps and host add relatively more to the block mode.",
        ),
        (
            stages(2, 2, 2, 2.5, 3),
            "dlm_block_dual · compile: 3× the speed of the naive mode, of 2× by the ideal step. No stage loses "
            "speed-up.",
        ),
        (
            [*stages(6, 5, 4, 3, 2.5), *stages(6, 5, 4, 3.5, 0.9, execution="eager")],
            "compile: 2.5× the speed of the naive mode, of 6× by the ideal step. Most is lost from 4× to 3×: the "
            "kernels of the "
            "block mode are further from their roofs. The slowest of 2 settings is eager: 0.9×. Most is lost from "
            "3.5× to 0.9×: "
            "gaps and host add relatively more to the block mode.",
        ),
        (stages(6, 5, 4, 3, None), "Not known: no run has both an ideal and a measured speed-up."),
    ],
)
def test_speedup(rows: list[Row], says: str) -> None:
    assert sentences.speedup(rows) == says


def bars(**values_ns: float) -> list[Row]:
    parts = {"ideal": "reuse", "family": "matmul", "host": "gaps and host", "no_roof": "other"}
    return [
        {"component": key.replace("_", " "), "item": parts[key], "place": i, "value_ns": value, "measured_ns": 1000.0}
        for i, (key, value) in enumerate(values_ns.items(), 1)
    ]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (
            bars(ideal=400, family=350, host=250),
            "A step takes 1 µs, 2.5× its ideal 400 ns. Most is added by family 350 ns (35 % of the step), host 250 "
            "ns (25 % of "
            "the step).",
        ),
        (
            bars(ideal=500, host=300, no_roof=200),
            "A step takes 1 µs, 2× its ideal 500 ns. Most is added by host 300 ns (30 % of the step), no roof 200 "
            "ns (20 % of "
            "the step). No known roof judges 20 % of the step.",
        ),
        (bars(ideal=1000, host=-0.5), "A step takes 1 µs, 1× its ideal 1 µs. No part adds time."),
    ],
)
def test_gap(rows: list[Row], says: str) -> None:
    assert sentences.gap(rows, {row["place"]: row["component"] for row in rows}) == says


def line(label: str, values_ns: dict[int, float], spread_ns: float = 0) -> Series:
    rows = [
        row(generated_tokens=x, latency_ns=ns, low_ns=ns - spread_ns, high_ns=ns + spread_ns)
        for x, ns in values_ns.items()
    ]
    return Series(label, rows, "", "", "")


@pytest.mark.parametrize(
    ("drawn", "says"),
    [
        (
            [line("a", {8: 100, 16: 200}), line("b", {8: 300, 16: 900})],
            "At 16 generated tokens, latency is 200 ns (a) to 900 ns (b), a factor of 4.5. Along the axis, b "
            "changes most: "
            "300 ns at 8 generated tokens to 900 ns at 16 generated tokens, a factor of 3.",
        ),
        (
            [line("a", {8: 100, 16: 202}, 5), line("b", {16: 200, 32: 210}, 5)],
            "At 16 generated tokens, latency is 200 ns (b) to 202 ns (a), within 1 %, within the spread of repeats. "
            "Along the "
            "axis, a changes most: 100 ns at 8 generated tokens to 202 ns at 16 generated tokens, a factor of 2.02.",
        ),
        (
            [line("a", {8: 300, 16: 200})],
            "a: 200 ns at 16 generated tokens to 300 ns at 8 generated tokens, a factor of 1.5.",
        ),
        ([line("a", {8: 300})], "No series has latency at two places."),
    ],
)
def test_trend(drawn: list[Series], says: str) -> None:
    assert sentences.trend(drawn, "generated_tokens", LATENCY) == says


@pytest.mark.parametrize(
    ("ar_ns", "execution", "says"),
    [
        (500, "compile", "AR (ar) takes 500 ns; block is as fast with 16 steps or fewer."),
        (50, "compile", "AR (ar) takes 50 ns; block is slower with every number of steps drawn."),
        (500, "eager", "No AR run of the same settings and execution says with how many steps AR is matched."),
    ],
)
def test_against_ar(ar_ns: int, execution: str, says: str) -> None:
    ar = Series("ar", [row(execution=execution, latency_ns=ar_ns)], "", "", "")
    block = Series("block", [row(steps=steps, latency_ns=30 * steps) for steps in (4, 16, 64)], "", "", "")
    assert sentences.against_ar([ar], [block]) == says


def parts(basis: str = "kernels", **values_ns: float) -> list[Row]:
    total = sum(values_ns.values())
    return [row(part=part, value_ns=ns, latency_ns=total, basis=basis) for part, ns in values_ns.items()]


@pytest.mark.parametrize(
    ("runs", "says"),
    [
        (
            [("a", parts(denoise=900, host=100)), ("b", parts(denoise=300, host=200))],
            "Largest part of the longest generation (a, 1 µs): denoise, 90 %. The host's part is 10 % (a) to 40 % (b).",
        ),
        (
            [("a", parts("not traced", denoise=900, host=0))],
            "Largest part of the longest generation (a, 900 ns): denoise, 100 %. The host's part is not known: no "
            "run traced "
            "every kind of its steps.",
        ),
    ],
)
def test_split(runs: list[tuple[str, list[Row]]], says: str) -> None:
    assert sentences.split(runs) == says


def test_roofline_names_the_nearest_and_the_furthest_or_what_is_missing() -> None:
    steps = [
        row(kind=kind, step_ns=100, floor_ns=floor) for kind, floor in (("reuse", 20), ("refresh", 90), ("x", None))
    ]
    assert sentences.roofline(steps) == (
        "Nearest to the roofs: dlm_block_dual · refresh · compile, 90 % (90 ns at the roofs, 100 ns measured). "
        "Furthest: "
        "dlm_block_dual · reuse · compile, 20 % (20 ns at the roofs, 100 ns measured)."
    )
    assert sentences.roofline(steps[2:]) == (
        "How near a step is to its roofs is not known: no step has a closed form and a roof."
    )


def test_costs_counts_what_lies_near_the_closed_form() -> None:
    rows = [
        {"component": part, "intensity": traced, "predicted_intensity": 10.0}
        for part, traced in (("all", 9.5), ("all", 5.0), ("all", 12.0), ("linear", 9.0))
    ]
    assert sentences.costs(rows) == (
        "Whole steps have 0.95× the intensity of the closed form, the median of 3 (0.5× to 1.2×); 1 of them lie "
        "within 10 %. "
        "Kernels over closed form, medians by part: linear 0.9×."
    )
    assert sentences.costs(rows[3:]).startswith("No whole step has an intensity by trace.")


def test_throughput_names_the_batch_and_the_end_of_memory() -> None:
    rows = [row(batch=1, outcome="ok", tokens_per_s=10.0), row(batch=4, outcome="ok", tokens_per_s=30.0)]
    drawn = [Series("a", rows, "", "", "")]
    assert sentences.throughput(drawn) == (
        "Highest throughput: a, 30 tokens/s at batch 4. No captured batch ran out of memory."
    )
    rows += [row(batch=16, outcome="oom", tokens_per_s=None)]
    assert sentences.throughput(drawn).endswith("First out of memory: a, at batch 16.")


def test_energy_names_the_least_and_the_most() -> None:
    def joules(value: float) -> Row:
        return {"joules_per_token": value, "mean_power_w": 300.0}

    assert sentences.energy([("a", joules(4))]) == "a: 4 J a token at 300 W."
    assert sentences.energy([("a", joules(4)), ("b", joules(2))]) == (
        "b: 2 J a token at 300 W; a: 4 J at 300 W, a factor of 2."
    )
