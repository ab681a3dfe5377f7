"""Decoders of a preset's shape: transformers' blocks under a forward with its own attention, masks and caches.

The library's forward does not fit: attention over the same weights is causal in one mode and bidirectional in another,
and a materialized mask would cost memory traffic that no decoder needs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
from transformers.models.qwen3.configuration_qwen3 import Qwen3Config
from transformers.models.qwen3.modeling_qwen3 import Qwen3ForCausalLM

from ridgeline.capture.configuration.shape import Shape
from ridgeline.capture.decoder.attention import Attention, FeedForward, Rotary, View, materialized
from ridgeline.capture.decoder.cache import KeyValueCache
from ridgeline.capture.decoder.quantization import quantize

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
INITIAL_STD = 0.02


class Weights:
    """A network of the library with initialized weights, ready for inference."""

    def __init__(self, network: Any, shape: Shape) -> None:
        self.network = network.train(False)
        self.shape = shape
        self.dtype: torch.dtype = network.lm_head.weight.dtype
        self.device: torch.device = network.lm_head.weight.device
        self.depth = shape.layers

    @property
    def nbytes(self) -> int:
        """Bytes of all weights and buffers. Those that share a storage, as fused or tied weights do, count once."""
        tensors = (*self.network.parameters(), *self.network.buffers())
        storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
        return sum(storages.values())


class Decoder(Weights):
    """A decoder's weights and one forward over them."""

    def __init__(
        self, network: Any, shape: Shape, *, capacity: int, fused: bool = False, linear: str = "model"
    ) -> None:
        """Wrap a network of the library for positions below `capacity`, and replace its attention in place.

        `linear` `fp8` or `int8` quantizes the linear layers of all blocks to 8 bits. `fused` joins the projections of
        attention and feed-forward blocks into one matrix product each.
        """
        super().__init__(network, shape)
        self.positions = torch.arange(capacity, device=self.device)
        # Before attention is replaced: fused projections join the 8-bit weights.
        if linear != "model":
            for layer in network.model.layers:
                quantize(layer, linear)
        heads: dict[str, int] = {"heads": shape.heads, "kv_heads": shape.kv_heads, "head_dim": shape.head_dim}
        for index, layer in enumerate(network.model.layers):
            layer.self_attn = Attention(layer.self_attn, layer=index, **heads, fused=fused)
            if fused:
                layer.mlp = FeedForward(layer.mlp)

    def reserve(self, capacity: int) -> None:
        """Extend the positions to `capacity`, for a point longer than the earlier ones."""
        if capacity > len(self.positions):
            self.positions = torch.arange(capacity, device=self.device)

    def cache(self, *, batch: int, capacity: int) -> KeyValueCache:
        """An empty cache for `batch` sequences of `capacity` positions."""
        size = (batch, self.shape.kv_heads, capacity, self.shape.head_dim)
        return KeyValueCache(self.depth, size, self.dtype, self.device)

    @contextmanager
    def shallower(self, depth: int) -> Iterator[None]:
        """Within the block, forwards and new caches stop after the first `depth` layers."""
        whole, self.depth = self.depth, depth
        try:
            yield
        finally:
            self.depth = whole

    def attend_by(self, backend: str) -> None:
        """Use `backend` for scaled dot product attention in every layer; `auto` leaves the choice to PyTorch."""
        for layer in self.network.model.layers:
            layer.self_attn.backend = backend

    def rotary(self, positions: Tensor) -> Rotary:
        """Cosines and sines of `positions` `[query]`, `[1, query, head_dim]` each."""
        body = self.network.model
        # The embedding's first argument only sets dtype and device of the result.
        cosines, sines = body.rotary_emb(body.embed_tokens.weight, position_ids=positions[None])
        return materialized(cosines), materialized(sines)

    def hidden(self, tokens: Tensor, positions: Tensor, view: View) -> Tensor:
        """The last layer's output `[batch, query, hidden]` for `tokens` `[batch, query]` at `positions` `[query]`."""
        body = self.network.model
        hidden: Tensor = body.embed_tokens(tokens)
        rotary = self.rotary(positions)
        for layer in body.layers[: self.depth]:
            hidden = layer(hidden, position_embeddings=rotary, view=view)
        return hidden

    def forward(self, tokens: Tensor, positions: Tensor, view: View, *, last: bool = False) -> Tensor:
        """Logits `[batch, query, vocabulary]` of `tokens` `[batch, query]` at `positions` `[query]`.

        `last` computes the last position's logits only: `[batch, 1, vocabulary]`. In a model with shifted logits each
        position takes the logits of the position before it, and the first keeps its own.
        """
        hidden = self.hidden(tokens, positions, view)
        hidden = self.network.model.norm(hidden[:, -1:] if last else hidden)
        logits: Tensor = self.network.lm_head(hidden)
        # A shifted model predicts the next position's token, so position i takes the logits of i - 1.
        if self.shape.shifted and not last:
            return torch.cat([logits[:, :1], logits[:, :-1]], 1)
        return logits


def network_class(shape: Shape) -> Any:
    """The library's class for a shape: Qwen3 where queries and keys have a norm, Qwen2 where they have a bias."""
    if shape.qk_norm:
        return Qwen3ForCausalLM
    return Qwen2ForCausalLM if shape.qkv_bias else LlamaForCausalLM


def network_config(shape: Shape, capacity: int) -> Any:
    """The library's configuration for a shape and positions below `capacity`."""
    library: Any = Qwen3Config if shape.qk_norm else Qwen2Config if shape.qkv_bias else LlamaConfig
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": shape.rope_theta}
    if shape.rope_scaling is not None:
        scaling = msgspec.structs.asdict(shape.rope_scaling)
        rope |= {key: value for key, value in scaling.items() if value is not None}
    return library(
        **sizes(shape),
        rope_parameters=rope,
        max_position_embeddings=capacity,
        tie_word_embeddings=shape.tied,
        attn_implementation="sdpa",
    )


def sizes(shape: Shape) -> dict[str, Any]:
    """The sizes of a shape by the keywords that the library's configurations share."""
    return {
        "hidden_size": shape.hidden,
        "intermediate_size": shape.ffn,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "vocab_size": shape.vocabulary,
        "rms_norm_eps": shape.norm_eps,
    }


def empty_network(shape: Shape, dtype: torch.dtype, device: torch.device, *, capacity: int) -> Any:
    """A network of the shape whose weights are allocated on `device` and uninitialized (on `meta`, not allocated)."""
    # Built on `meta` first, so that the library's own initialization of the weights costs nothing.
    with torch.device("meta"):
        network: Any = network_class(shape)(network_config(shape, capacity))
    network = network.to(dtype).to_empty(device=device)
    network.tie_weights()  # the moved weights share no storage any more
    restore_rotary(network, device)
    return network.requires_grad_(False)


def restore_rotary(network: Any, device: torch.device) -> None:
    """Replace the rotary embedding, which no checkpoint holds, by a float32 one on `device`."""
    network.model.rotary_emb = LlamaRotaryEmbedding(config=network.config).to(device)


def random_decoder(
    shape: Shape,
    dtype: torch.dtype,
    device: torch.device,
    *,
    capacity: int,
    seed: int,
    fused: bool = False,
    linear: str = "model",
) -> Decoder:
    """A decoder with random weights, generated on `device`: norms are one, all others normal with std 0.02.

    8-bit weights are quantized from these, so the device must first hold all weights in `dtype`. Raises
    torch.OutOfMemoryError when it cannot.
    """
    network = empty_network(shape, dtype, device, capacity=capacity)
    generator = torch.Generator(device).manual_seed(seed)
    for name, weight in network.named_parameters():
        if name.endswith("norm.weight"):
            nn.init.ones_(weight)
        else:
            weight.normal_(0.0, INITIAL_STD, generator=generator)
    return Decoder(network, shape, capacity=capacity, fused=fused, linear=linear)


def quiet_transformers() -> None:
    """Silence the warnings and progress bars of transformers."""
    from transformers.utils import logging

    untyped: Any = logging
    untyped.set_verbosity_error()
    untyped.disable_progress_bar()
