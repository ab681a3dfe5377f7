"""The architecture of a decoder, as data without torch."""

from typing import Annotated, Literal

import msgspec

MOST = 10_000_000
"""No capture needs larger numbers."""

Positive = Annotated[int, msgspec.Meta(ge=1, le=MOST)]
Count = Annotated[int, msgspec.Meta(ge=1, le=2**62)]
Factor = Annotated[float, msgspec.Meta(gt=0, le=1e12)]
Layout = Literal["llama", "llada", "dream", "diffusion_gemma"]

FULL_EVERY = 6
"""In DiffusionGemma every sixth layer and the last one attend to all positions, the others to a sliding window."""


class RopeScaling(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rotary frequencies stretched beyond the trained length; the keys of config.json's `rope_scaling`.

    transformers computes the frequencies. Kinds whose frequencies change with the length of a sequence are left out.
    """

    rope_type: Literal["linear", "llama3", "yarn"]
    factor: Factor
    original_max_position_embeddings: Positive | None = None
    low_freq_factor: Factor | None = None
    high_freq_factor: Factor | None = None
    beta_fast: Factor | None = None
    beta_slow: Factor | None = None
    attention_factor: Factor | None = None


class Shape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The architecture of a decoder with RMSNorm, rotary positions and SwiGLU.

    `source` says where the numbers come from, `layout` how published checkpoints name their weights. `mask_id` is the
    token at positions not yet decoded; for a model without a mask token it is any id of the vocabulary. With `shifted`,
    the logits of a position predict the next token. `trained_positions` is the longest sequence that the published
    model was trained for; longer ones need `beyond_training`. `max_positions` is the longest that may be run.
    `qkv_bias` gives queries, keys and values a bias (Qwen2, Dream); `qk_norm` normalizes each head of queries and keys
    (Qwen3).

    Only the layout `diffusion_gemma` sets `experts` and the fields after it. Its parameters are declared, not computed.
    """

    name: str
    layout: Layout
    hidden: Positive
    layers: Positive
    heads: Positive
    kv_heads: Positive
    ffn: Positive
    vocabulary: Positive
    mask_id: Positive
    rope_theta: Factor = 500_000.0
    rope_scaling: RopeScaling | None = None
    norm_eps: Factor = 1e-5
    max_positions: Positive = 131_072
    trained_positions: Positive | None = None
    qkv_bias: bool = False
    qk_norm: bool = False
    shifted: bool = False
    head_width: Positive | None = msgspec.field(default=None, name="head_dim")
    tied: bool = False
    source: str
    experts: Positive | None = None
    experts_per_token: Positive | None = None
    moe_ffn: Positive | None = None
    sliding_window: Positive | None = None
    global_head_dim: Positive | None = None
    declared_parameters: Count | None = None

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
        norms += 2 * self.layers * self.head_dim if self.qk_norm else 0
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
