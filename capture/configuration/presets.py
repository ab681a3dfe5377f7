"""Model shapes as data (`presets.toml`): what a preset's name stands for, without importing torch."""

import tomllib
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from ridgeline.capture.configuration.point import Point

FULL_EVERY = 6
"""In DiffusionGemma every sixth layer attends to everything, and so does the last; others see a sliding window."""

SOURCE = Path(__file__).with_name("presets.toml")


class Shape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The architecture of a decoder with RMSNorm, rotary positions and SwiGLU.

    `source` says where its numbers are from, `layout` names the keys its published checkpoints use. `mask_id` is the
    token that stands for a position not yet decoded; a model that has none lends an id of its vocabulary. With
    `shifted`, the logits of a position are those of the token after it. `trained_positions` is the longest sequence the
    published model was trained for, beyond which a point must ask to go; `max_positions` the longest that may be run.

    Experts and what follows are set where `layout` is `diffusion_gemma`; `declared_parameters` then takes the place of
    the count by formula.
    """

    name: str
    layout: Literal["llama", "llada", "dream", "diffusion_gemma"]
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    ffn: int
    vocabulary: int
    mask_id: int
    rope_theta: float = 500_000.0
    norm_eps: float = 1e-5
    max_positions: int = 131_072
    trained_positions: int | None = None
    qkv_bias: bool = False
    shifted: bool = False
    head_width: int | None = msgspec.field(default=None, name="head_dim")
    tied: bool = False
    source: str
    experts: int | None = None
    experts_per_token: int | None = None
    moe_ffn: int | None = None
    sliding_window: int | None = None
    global_head_dim: int | None = None
    declared_parameters: int | None = None

    @property
    def head_dim(self) -> int:
        """Width of one attention head, in elements: as stated, else an even share of the hidden width."""
        return self.head_width or self.hidden // self.heads

    @property
    def layer_parameters(self) -> int:
        """Weights of one layer's seven linear projections (norms and biases apart)."""
        attention = 2 * self.hidden * (self.heads + self.kv_heads) * self.head_dim
        return attention + 3 * self.hidden * self.ffn

    @property
    def bias_parameters(self) -> int:
        """Biases of one layer's queries, keys and values."""
        return (self.heads + 2 * self.kv_heads) * self.head_dim if self.qkv_bias else 0

    @property
    def embedding_parameters(self) -> int:
        """Weights of the embedding table, which is the output projection as well where they are tied."""
        return self.vocabulary * self.hidden

    @property
    def streamed_parameters(self) -> int:
        """Weights every forward reads whole: all but the embedding table, of which it reads one row a token.

        A tied table is read whole by the output projection. Of experts, those that one token takes are counted.
        """
        if self.declared_parameters is not None:
            return self.declared_parameters - self._idle_parameters
        norms = (2 * self.layers + 1) * self.hidden
        return self.layers * (self.layer_parameters + self.bias_parameters) + norms + self.embedding_parameters

    @property
    def parameters(self) -> int:
        """All weights, embedding table included."""
        if self.declared_parameters is not None:
            return self.declared_parameters
        return self.streamed_parameters + (0 if self.tied else self.embedding_parameters)

    @property
    def _idle_parameters(self) -> int:
        """Of declared parameters, those that one token leaves unread: other experts, and an embedding table apart."""
        idle = (self.experts or 0) - (self.experts_per_token or 0)
        return idle * 3 * self.hidden * (self.moe_ffn or 0) * self.layers + (not self.tied) * self.embedding_parameters

    def cache_elements(self, positions: int) -> int:
        """Elements of the keys and values of `positions` tokens, all layers."""
        return 2 * self.kv_heads * sum(map(self._head_dim_of, range(self.layers))) * positions

    def _head_dim_of(self, layer: int) -> int:
        """The width of a layer's heads: wider in those that see everything, where a model has both kinds."""
        sees_all = (layer + 1) % FULL_EVERY == 0 or layer == self.layers - 1
        return self.global_head_dim if self.global_head_dim and sees_all else self.head_dim

    def with_(self, *, layers: int | None = None, heads: int | None = None, kv_heads: int | None = None) -> "Shape":
        """This shape with other numbers of layers or heads; its own where None."""
        return msgspec.structs.replace(
            self, layers=layers or self.layers, heads=heads or self.heads, kv_heads=kv_heads or self.kv_heads
        )


class Presets(Mapping[str, Shape]):
    """Shapes by name, read from `presets.toml` when the first is asked for."""

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """The tables of the file."""
        tables = tomllib.loads(SOURCE.read_text(encoding="utf-8"))
        return {name: msgspec.convert({"name": name, **table}, Shape) for name, table in tables.items()}

    def __getitem__(self, name: str) -> Shape:
        return self.shapes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


PRESETS: Mapping[str, Shape] = Presets()
"""Every shape that `model = "..."` may name."""


def shape_of(point: "Point") -> Shape:
    """The shape a point runs: its model's preset with the point's own layers and heads."""
    return PRESETS[point.model].with_(layers=point.layers, heads=point.heads, kv_heads=point.kv_heads)
