"""The options that tell runs apart, and the words of a hover."""

from __future__ import annotations

from ridgeline.reports.names import clip, escape
from ridgeline.reports.study.drawings.series import KEYS

SETTINGS = tuple(key for key in KEYS if key not in ("kind", "component", "device"))


def all_but(*axes: str) -> tuple[str, ...]:
    """What tells lines apart where the others are axes."""
    return tuple(key for key in SETTINGS if key not in axes)


def hover(*text: str) -> str:
    """Lines of what a hover says, each of a bounded length."""
    return "<br>".join(escape(clip(line, 96)) for line in text)
