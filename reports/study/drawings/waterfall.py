"""From the ideal step to the measured one, bar by bar."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ridgeline.reports import units
from ridgeline.reports.figures import families
from ridgeline.reports.figures.layout import QUIET, Spec
from ridgeline.reports.names import clip, escape
from ridgeline.reports.queries import Row
from ridgeline.reports.study.drawings.run_bars import distinct, frame
from ridgeline.reports.study.drawings.series import Panel, label, telling
from ridgeline.reports.study.drawings.settings import SETTINGS

STAGES = {"ideal": "#2a8e9a", "steps": "#4f64b9", "work": "#cbab84", "host": "#a2a2a2"}


def gap(rows: Sequence[Row], marks: Sequence[Row]) -> list[Panel]:
    """The waterfall of each run, from the ideal step to the measured one."""
    runs: dict[str, list[Row]] = {}
    for row in rows:
        runs.setdefault(row["run_id"], []).append(row)
    keys = telling(rows, (*SETTINGS, "device"))
    names = [label(own[0], keys) for own in runs.values()]
    found = [
        Panel(distinct(names, i), _waterfall(sorted(own, key=lambda r: r["place"])), rank, _of(own[0]))
        for i, (own, rank) in enumerate(zip(runs.values(), _ranks([own[0] for own in runs.values()]), strict=True))
    ]
    return sorted(found, key=lambda panel: (-panel.rows, panel.title))


def _of(row: Row) -> tuple[str, ...]:
    return (f"{row['name']}: a generation of {row['steps']:,} steps.",)


def _ranks(runs: Sequence[Row]) -> list[int]:
    """Where runs stand among panels: blocks with a dual cache come first, without the host, at usual lengths."""
    usual = Counter(_lengths(run) for run in runs)
    return [
        len(runs) * (2 * (run["mode"] == "dlm_block_dual") + (run["execution"] == "cuda_graph")) + usual[_lengths(run)]
        for run in runs
    ]


def _lengths(run: Row) -> tuple[Any, ...]:
    return tuple(run[key] for key in ("batch", "prompt_tokens", "generated_tokens", "block"))


def _waterfall(rows: Sequence[Row]) -> Spec:
    names = [_stage(row) for row in rows]
    measured = rows[0]["measured_ns"]
    spec: Spec = {"data": [], "layout": frame([*names, "measured step"], "s")}
    spec["layout"]["yaxis"] |= {"autorange": "reversed"}
    spec["data"] = [
        {
            "type": "bar",
            "orientation": "h",
            "y": [*names, "measured step"],
            "base": [*(min(row["start_ns"], row["end_ns"]) / 1e9 for row in rows), 0],
            "x": [*(abs(row["value_ns"]) / 1e9 for row in rows), measured / 1e9],
            "marker": {"color": [*(_stage_color(row) for row in rows), "#4a586b"]},
            "text": [*(_bar_text(row) for row in rows), f"{units.duration(measured)} "],
            "textposition": "none",
            "hovertemplate": "%{y}: %{text}<extra></extra>",
        },
        {
            "type": "scatter",
            "mode": "text",
            "hoverinfo": "skip",
            "cliponaxis": False,
            "meta": {"role": "text"},
            "x": [*(max(row["start_ns"], row["end_ns"]) / 1e9 for row in rows), measured / 1e9],
            "y": [*names, "measured step"],
            "text": [*(f"  {_bar_text(row)}" for row in rows), f"  {units.duration(measured)}"],
            "textposition": "middle right",
            "textfont": {"size": 11, "color": QUIET},
        },
    ]
    spec["layout"]["xaxis"]["range"] = [0, max(measured, *(row["end_ns"] for row in rows)) / 1e9 * 1.25]
    return spec


def _stage(row: Row) -> str:
    said = {
        "ideal": "ideal {} step",
        "steps": "{} steps",
        "work": "work beyond the closed form",
        "family": "{} beyond its roof",
        "no roof": "{} without a roof",
        "host": "gaps and host",
    }
    return escape(clip(said.get(row["component"], "{}").format(row["item"]), 48))


def _stage_color(row: Row) -> str:
    return STAGES.get(row["component"]) or families.color(row["item"])


def _bar_text(row: Row) -> str:
    sign = "" if row["place"] == 1 else "−" if row["value_ns"] < 0 else "+"
    return f"{sign}{units.duration(abs(row['value_ns']))}"
