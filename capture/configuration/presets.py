"""Shapes by name, read from `presets.toml` without importing torch, and the shape of a point."""

import tomllib
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

import msgspec

from ridgeline.capture.configuration.point import Point
from ridgeline.capture.configuration.shape import Shape

SOURCE = Path(__file__).with_name("presets.toml")


class Presets(Mapping[str, Shape]):
    """Shapes by name, read from `presets.toml` on first use."""

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """All shapes of the file, by name."""
        tables = tomllib.loads(SOURCE.read_text(encoding="utf-8"))
        return {name: msgspec.convert({"name": name, **table}, Shape) for name, table in tables.items()}

    def __getitem__(self, name: str) -> Shape:
        return self.shapes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


PRESETS: Mapping[str, Shape] = Presets()
"""The shapes that the key `model` may name in any configuration."""


def published(point: Point) -> Shape:
    """Return the shape of a point's model, whose layers and heads the point may replace."""
    return PRESETS[point.model] if point.shape is None else point.shape


def shape_of(point: Point) -> Shape:
    """Return the shape that a point runs: that of its model with the point's own layers and heads."""
    return published(point).with_(layers=point.layers, heads=point.heads, kv_heads=point.kv_heads)
