"""Model architectures by name, read from `presets.toml` without importing torch."""

import tomllib
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Literal

import msgspec

from ridgeline.capture.configuration.point import Point

FULL_EVERY = 6
"""In DiffusionGemma every sixth layer and the last one attend to all positions, the others to a sliding window."""

SOURCE = Path(__file__).with_name("presets.toml")


class Shape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The architecture of a decoder with RMSNorm, rotary positions and SwiGLU.

    `source` says where the numbers come from, `layout` how published checkpoints name their weights. `mask_id` is the
    token at positions not yet decoded; for a model without a mask token it is any id of the vocabulary. With `shifted`,
    the logits of a position predict the next token. `trained_positions` is the longest sequence that the published
    model was trained for; longer ones need `beyond_training`. `max_positions` is the longest that may be run.

    Only the layout `diffusion_gemma` sets `experts` and the fields after it. Its parameters are declared, not computed.
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
        """Elements of one attention head: as stated, else an even share of the hidden width."""
        return self.head_width or self.hidden // self.heads

    @property
    def layer_parameters(self) -> int:
        """Weights of one layer's seven linear projections, without norms and biases."""
        # Queries and output have all heads, keys and values have kv_heads; then gate, up and down.
        attention = 2 * self.hidden * (self.heads + self.kv_heads) * self.head_dim
        return attention + 3 * self.hidden * self.ffn

    @property
    def bias_parameters(self) -> int:
        """Biases of one layer's queries, keys and values."""
        return (self.heads + 2 * self.kv_heads) * self.head_dim if self.qkv_bias else 0

    @property
    def embedding_parameters(self) -> int:
        """Weights of the embedding table. With tied weights it is the output projection as well."""
        return self.vocabulary * self.hidden

    @property
    def streamed_parameters(self) -> int:
        """Weights that every forward reads: all but the embedding table, of which it reads one row per token.

        The output projection reads a tied table whole. Of the experts, those that one token uses are counted.
        """
        if self.declared_parameters is not None:
            # Each expert of each layer has gate, up and down of its own width.
            idle_experts = (self.experts or 0) - (self.experts_per_token or 0)
            idle = idle_experts * 3 * self.hidden * (self.moe_ffn or 0) * self.layers
            return self.declared_parameters - idle - (0 if self.tied else self.embedding_parameters)
        norms = (2 * self.layers + 1) * self.hidden  # two in each layer, and one before the output projection
        return self.layers * (self.layer_parameters + self.bias_parameters) + norms + self.embedding_parameters

    @property
    def parameters(self) -> int:
        """All weights, including the embedding table."""
        if self.declared_parameters is not None:
            return self.declared_parameters
        return self.streamed_parameters + (0 if self.tied else self.embedding_parameters)

    def cache_elements(self, positions: int) -> int:
        """Return the elements of the keys and values of `positions` tokens in all layers."""
        # The layers that attend to all positions may have wider heads than those with a sliding window.
        widths = 0
        for layer in range(self.layers):
            global_layer = (layer + 1) % FULL_EVERY == 0 or layer == self.layers - 1
            widths += self.global_head_dim if self.global_head_dim and global_layer else self.head_dim
        return 2 * self.kv_heads * widths * positions

    def with_(self, *, layers: int | None = None, heads: int | None = None, kv_heads: int | None = None) -> "Shape":
        """Return this shape with other numbers of layers or heads; None keeps its own."""
        return msgspec.structs.replace(
            self, layers=layers or self.layers, heads=heads or self.heads, kv_heads=kv_heads or self.kv_heads
        )


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
"""The shapes that the key `model` may name."""


def shape_of(point: Point) -> Shape:
    """Return the shape that a point runs: the preset of its model with the point's own layers and heads."""
    return PRESETS[point.model].with_(layers=point.layers, heads=point.heads, kv_heads=point.kv_heads)
