"""Decoders of a preset's shape from transformers' blocks, with attention, masks and caches of our own.

The blocks are the library's; the forward over them is ours, because attention is causal in one mode and bidirectional
in another over the same weights, and because a materialised mask would cost memory traffic no decoder needs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from ridgeline.capture.configuration.presets import Shape
from ridgeline.capture.decoder.attention import Attention, FeedForward, Rotary, View, materialized
from ridgeline.capture.decoder.cache import KeyValueCache
from ridgeline.capture.decoder.quantization import quantize

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
INITIAL_STD = 0.02


class Decoder:
    """A decoder's weights and one forward over them."""

    def __init__(
        self, network: Any, shape: Shape, *, capacity: int, fused: bool = False, linear: str = "model"
    ) -> None:
        """Wrap a network of the library whose positions run to `capacity`; its attention is replaced by ours.

        With `linear` other than `model` (`fp8`, `int8`) its layers' products are of 8 bits.
        """
        self.network = network
        self.network.train(False)
        self.shape = shape
        self.fused = fused
        self.dtype: torch.dtype = network.lm_head.weight.dtype
        self.device: torch.device = network.lm_head.weight.device
        self.depth = len(network.model.layers)
        self.positions = torch.arange(capacity, device=self.device)
        if linear != "model":
            for layer in network.model.layers:
                quantize(layer, linear)
        _replace(network, shape, fused=fused)

    @property
    def nbytes(self) -> int:
        """Bytes of all weights and buffers, views of one storage counted once."""
        tensors = (*self.network.parameters(), *self.network.buffers())
        storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
        return sum(storages.values())

    def reserve(self, capacity: int) -> None:
        """Let positions run to `capacity`, for a longer point than the network was made for."""
        if capacity > len(self.positions):
            self.positions = torch.arange(capacity, device=self.device)

    def cache(self, *, batch: int, capacity: int) -> KeyValueCache:
        """An empty cache for `batch` sequences of `capacity` positions."""
        return KeyValueCache(
            layers=self.depth,
            batch=batch,
            kv_heads=self.shape.kv_heads,
            capacity=capacity,
            head_dim=self.shape.head_dim,
            dtype=self.dtype,
            device=self.device,
        )

    @contextmanager
    def shallower(self, depth: int) -> Iterator[None]:
        """Let forwards and new caches stop after the first `depth` layers."""
        whole, self.depth = self.depth, depth
        try:
            yield
        finally:
            self.depth = whole

    def attend_by(self, backend: str) -> None:
        """Use one backend of scaled dot product attention in every layer, or leave the choice to PyTorch (`auto`)."""
        for layer in self.network.model.layers:
            layer.self_attn.backend = backend

    def rotary(self, positions: Tensor) -> Rotary:
        """Cosines and sines of `positions` `[query]`, `[1, query, head_dim]` each."""
        body = self.network.model
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

        `last` computes the last position's logits only: `[batch, 1, vocabulary]`. Where a model's logits are shifted,
        each position's come from the one before it, and the first keeps its own.
        """
        hidden = self.hidden(tokens, positions, view)
        hidden = self.network.model.norm(hidden[:, -1:] if last else hidden)
        logits: Tensor = self.network.lm_head(hidden)
        if self.shape.shifted and not last:
            return torch.cat([logits[:, :1], logits[:, :-1]], 1)
        return logits


def _replace(network: Any, shape: Shape, *, fused: bool) -> None:
    """Put our attention, and with `fused` our feed-forward blocks, in place of the library's."""
    for index, layer in enumerate(network.model.layers):
        layer.self_attn = Attention(
            layer.self_attn,
            layer=index,
            heads=shape.heads,
            kv_heads=shape.kv_heads,
            head_dim=shape.head_dim,
            fused=fused,
        )
        if fused:
            layer.mlp = FeedForward(layer.mlp)


def network_class(shape: Shape) -> Any:
    """The library's model whose blocks a shape has: Qwen2's where queries, keys and values have a bias."""
    return Qwen2ForCausalLM if shape.qkv_bias else LlamaForCausalLM


def network_config(shape: Shape, capacity: int) -> Any:
    """The library's configuration of a shape."""
    library: Any = Qwen2Config if shape.qkv_bias else LlamaConfig
    return library(
        hidden_size=shape.hidden,
        intermediate_size=shape.ffn,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        vocab_size=shape.vocabulary,
        rms_norm_eps=shape.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        max_position_embeddings=capacity,
        tie_word_embeddings=False,
        attn_implementation="sdpa",
    )


def empty_network(shape: Shape, dtype: torch.dtype, device: torch.device, *, capacity: int) -> Any:
    """A network of the shape with its memory allocated on `device` and not yet filled; on the meta device, none."""
    with torch.device("meta"):
        network: Any = network_class(shape)(network_config(shape, capacity))
    network = network.to(dtype).to_empty(device=device)
    restore_rotary(network, device)
    return network.requires_grad_(False)


def restore_rotary(network: Any, device: torch.device) -> None:
    """Make the rotary embedding anew: not in a checkpoint and not a weight, float32 whatever the weights are."""
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
    """A decoder with random weights made where they stay: norms one, everything else normal with std 0.02.

    8-bit weights are made of these, and the device holds all of these first.

    Raises torch.OutOfMemoryError when the device cannot hold them.
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
    """Keep the library's advice and progress bars off the terminal."""
    from transformers.utils import logging

    silent: Any = logging
    silent.set_verbosity_error()
    silent.disable_progress_bar()
