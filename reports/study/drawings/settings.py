"""The settings of runs: which of them distinguish rows, and how labels name them."""

from collections.abc import Iterable, Sequence
from typing import Any

from ridgeline.reports.figures.palette import hue
from ridgeline.reports.names import clip
from ridgeline.reports.queries import Row

# Colours of decoding modes, distinguishable in normal, deuteranopic and protanopic sight.
MODES = {
    "ar": hue("blue"),
    "dlm_full": hue("red"),
    "dlm_semi_ar": hue("orange"),
    "dlm_block_prefix": hue("gold"),
    "dlm_block_dual": hue("teal"),
    "dlm_block_causal": hue("lavender"),
}
OTHER_MODE = hue("grey")

# The symbol of each kind of step; other kinds are crosses.
KINDS = {"prefill": "square", "decode": "circle", "denoise": "star", "refresh": "triangle-up", "reuse": "diamond"}

# Settings that may distinguish series, and the format of each in a label. An earlier key is preferred to a later one.
KEYS = {
    "mode": "{}",
    "kind": "{}",
    "model": "{}",
    "execution": "{}",
    "block": "block {}",
    "options": "{}",
    "batch": "batch {:,}",
    "prompt_tokens": "prompt {:,}",
    "generated_tokens": "{:,} generated",
    "tokens_per_step": "{:.3g} tokens a step",
    "dtype": "{}",
    "component": "{}",
    "device": "{}",
}
SETTINGS = tuple(key for key in KEYS if key not in ("kind", "component", "device"))

# The label of rows that no setting distinguishes.
DEFAULT_LABEL = ("mode", "execution")
# Settings that a label names wherever they differ, even if an earlier key distinguishes the same rows: without
# its options, a run with block-sparse attention beside runs of another execution would seem to differ in that alone.
ALWAYS = (*DEFAULT_LABEL, "options", "tokens_per_step")


def color(mode: str) -> str:
    """Return the colour of a decoding mode."""
    return MODES.get(mode, OTHER_MODE)


def all_but(*axes: str) -> tuple[str, ...]:
    """Return the settings that distinguish lines when ``axes`` are the settings on the axes."""
    return tuple(key for key in SETTINGS if key not in axes)


def wording(key: str, value: Any) -> str:
    """Return a setting as a label names it, empty for NULL.

    >>> wording("batch", 4), wording("mode", "ar"), wording("block", None), wording("tokens_per_step", 1)
    ('batch 4', 'ar', '', '1 token a step')
    """
    if value is None or value == "":
        return ""
    text = KEYS.get(key, "{}").format(value)
    return clip("1 token a step" if text == "1 tokens a step" else text, 48)


def distinguishing(rows: Sequence[Row], keys: Sequence[str]) -> list[str]:
    """Return the keys, in their order, that distinguish rows which the keys before them do not; and ``ALWAYS``."""
    chosen: list[str] = []
    for key in keys:
        # A key is worth naming if it splits some group of the rows that the chosen keys leave together.
        splits = len(by_keys(rows, [*chosen, key])) > len(by_keys(rows, chosen))
        if splits or (key in ALWAYS and len(by_keys(rows, [key])) > 1):
            chosen.append(key)
    return chosen


def label(row: Row, keys: Iterable[str], default: Iterable[str] = DEFAULT_LABEL) -> str:
    """Return the values of ``keys`` in a row as a label; if all are empty, the values of ``default``."""
    words = [text for key in keys if (text := wording(key, row.get(key)))]
    return " · ".join(words or [text for key in default if (text := wording(key, row.get(key)))])


def in_all(rows: Sequence[Row], keys: Iterable[str]) -> str:
    """Return a sentence about the settings that all rows share, empty if there are none."""
    shared = [
        wording(key, rows[0][key])
        for key in keys
        if rows and rows[0].get(key) not in (None, "") and len({row.get(key) for row in rows}) == 1
    ]
    return f"In all: {', '.join(shared)}." if shared else ""


def labelled_groups(rows: Sequence[Row], keys: Sequence[str]) -> list[tuple[str, list[Row]]]:
    """Group rows by the settings among ``keys`` that distinguish them; each group has its label."""
    chosen = distinguishing(rows, keys)
    return [(label(own[0], chosen, keys), own) for own in by_keys(rows, chosen).values()]


def by_keys(rows: Iterable[Row], keys: Sequence[str]) -> dict[tuple[Any, ...], list[Row]]:
    """Group rows by the values of ``keys``, in order: NULL, then numbers by size, modes in their order, other words."""

    def rank(value: Any) -> tuple[bool, float, str]:
        if value is None or isinstance(value, int | float):
            return (value is not None, float(value or 0), "")
        return (True, list(MODES).index(value) if value in MODES else len(MODES), str(value))

    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row.get(key) for key in keys), []).append(row)
    return dict(sorted(groups.items(), key=lambda group: [rank(value) for value in group[0]]))


def symbol(kind: str) -> str:
    """Return the Plotly symbol of a kind of step."""
    return KINDS.get(kind, "cross")


def legend(rows: Sequence[Row]) -> str:
    """Return a sentence that explains the symbols of the rows' kinds.

    >>> legend([{"kind": "decode"}, {"kind": "commit"}])
    'Marks: decode circle, commit cross.'
    """
    order = list(KINDS)
    kinds = sorted({row["kind"] for row in rows}, key=lambda kind: (order.index(kind) if kind in order else 9, kind))
    marks = [f"{kind} {symbol(kind).removesuffix('-up')}" for kind in kinds]
    return f"Marks: {', '.join(marks)}."
