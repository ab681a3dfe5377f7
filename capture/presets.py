"""Model shapes as data: what a preset's name stands for, without importing torch."""

from typing import Literal

import msgspec


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """The architecture of a decoder with RMSNorm, rotary positions, SwiGLU and untied embeddings, no biases.

    `mask_id` is the token that stands for a position not yet decoded. LLaMA has none of its own, so it lends a reserved
    id of its vocabulary. `layout` names the keys its published checkpoints use.
    """

    name: str
    layout: Literal["llama", "llada"]
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    ffn: int
    vocabulary: int
    mask_id: int
    rope_theta: float = 500_000.0
    norm_eps: float = 1e-5

    @property
    def head_dim(self) -> int:
        """Width of one attention head, in elements."""
        return self.hidden // self.heads

    @property
    def layer_parameters(self) -> int:
        """Weights of one layer's seven linear projections (norms apart)."""
        attention = 2 * self.hidden**2 + 2 * self.hidden * self.kv_heads * self.head_dim
        return attention + 3 * self.hidden * self.ffn

    @property
    def streamed_parameters(self) -> int:
        """Weights every forward reads whole: all but the embedding table, of which it reads one row a token."""
        norms = (2 * self.layers + 1) * self.hidden
        return self.layers * self.layer_parameters + norms + self.hidden * self.vocabulary

    @property
    def parameters(self) -> int:
        """All weights, embedding table included."""
        return self.streamed_parameters + self.hidden * self.vocabulary

    def cache_elements(self, positions: int) -> int:
        """Elements of the keys and values of `positions` tokens, all layers."""
        return 2 * self.layers * self.kv_heads * self.head_dim * positions


_SHAPES = (
    Shape(
        name="tiny-llama",
        layout="llama",
        hidden=256,
        layers=4,
        heads=8,
        kv_heads=2,
        ffn=896,
        vocabulary=4096,
        mask_id=4095,
    ),
    Shape(
        name="tiny-llada",
        layout="llada",
        hidden=256,
        layers=4,
        heads=8,
        kv_heads=8,
        ffn=768,
        vocabulary=4096,
        mask_id=4094,
    ),
    Shape(
        name="llama-3-8b",
        layout="llama",
        hidden=4096,
        layers=32,
        heads=32,
        kv_heads=8,
        ffn=14336,
        vocabulary=128256,
        mask_id=128255,  # <|reserved_special_token_247|>
    ),
    Shape(
        name="llada-8b",
        layout="llada",
        hidden=4096,
        layers=32,
        heads=32,
        kv_heads=32,
        ffn=12288,
        vocabulary=126464,
        mask_id=126336,
    ),
)

PRESETS: dict[str, Shape] = {shape.name: shape for shape in _SHAPES}
"""Every shape that `model = "..."` may name."""
