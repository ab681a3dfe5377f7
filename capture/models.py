"""Decoders of a preset's shape, from transformers' LLaMA blocks, with masks and caches of our own.

The blocks are the library's; the forward over them is ours, because attention is causal in one mode and bidirectional
in another over the same weights, and because a materialised mask would cost memory traffic no decoder needs.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from capture.cache import KeyValueCache
from capture.presets import Shape

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
INITIAL_STD = 0.02


class Decoder:
    """A decoder's weights and one forward over them."""

    def __init__(self, network: LlamaForCausalLM, shape: Shape, *, capacity: int) -> None:
        """Wrap a network whose positions run to `capacity`."""
        self.network: Any = network  # Its submodules are typed as Tensor | Module, which helps nobody.
        self.network.train(False)
        self.shape = shape
        self.dtype: torch.dtype = network.lm_head.weight.dtype
        self.device: torch.device = network.lm_head.weight.device
        self.positions = torch.arange(capacity, device=self.device)

    @property
    def nbytes(self) -> int:
        """Bytes of all weights and buffers."""
        tensors = (*self.network.parameters(), *self.network.buffers())
        return sum(tensor.nbytes for tensor in tensors)

    def reserve(self, capacity: int) -> None:
        """Let positions run to `capacity`, for a longer point than the network was made for."""
        if capacity > len(self.positions):
            self.positions = torch.arange(capacity, device=self.device)

    def cache(self, *, batch: int, capacity: int) -> KeyValueCache:
        """An empty cache for `batch` sequences of `capacity` positions."""
        return KeyValueCache(
            layers=self.shape.layers,
            batch=batch,
            kv_heads=self.shape.kv_heads,
            capacity=capacity,
            head_dim=self.shape.head_dim,
            dtype=self.dtype,
            device=self.device,
        )

    def forward(
        self,
        tokens: Tensor,
        *,
        start: int = 0,
        context: int | None = None,
        cache: KeyValueCache | None = None,
        causal: bool = False,
        last: bool = False,
    ) -> Tensor:
        """Logits `[batch, query, vocabulary]` of `tokens` `[batch, query]` that begin at position `start`.

        Without a cache the tokens attend to each other. With one, their keys and values are written at their positions
        and they attend to the first `context` slots (default: up to their own last). `causal` masks the future and
        belongs to a forward from position 0; `last` computes the last position's logits only: `[batch, 1, vocabulary]`.
        """
        query = tokens.shape[1]
        positions = self.positions[start : start + query]
        if cache is not None:
            cache.select(positions, start + query if context is None else context)
        body = self.network.model
        hidden = body.embed_tokens(tokens)
        rotary = body.rotary_emb(hidden, position_ids=positions[None])
        for layer in body.layers:
            hidden = layer(hidden, position_embeddings=rotary, past_key_values=cache, is_causal=causal)
        hidden = body.norm(hidden[:, -1:] if last else hidden)
        logits: Tensor = self.network.lm_head(hidden)
        return logits


def empty(shape: Shape, dtype: torch.dtype, device: torch.device, *, capacity: int) -> LlamaForCausalLM:
    """A network of the shape with its memory allocated on `device` and not yet filled; on the meta device, none."""
    with torch.device("meta"):
        network: Any = LlamaForCausalLM(configuration(shape, capacity))
    network = network.to(dtype).to_empty(device=device)
    # Not in a checkpoint and not a weight: inverse frequencies stay float32 whatever the weights are.
    network.model.rotary_emb = LlamaRotaryEmbedding(config=network.config).to(device)
    made: LlamaForCausalLM = network.requires_grad_(False)
    return made


def configuration(shape: Shape, capacity: int) -> LlamaConfig:
    """The library's configuration of a shape, with PyTorch's scaled dot product attention."""
    library: Any = LlamaConfig  # Keywords of its base class are not in its signature.
    made: LlamaConfig = library(
        hidden_size=shape.hidden,
        intermediate_size=shape.ffn,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        vocab_size=shape.vocabulary,
        rms_norm_eps=shape.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        max_position_embeddings=capacity,
        tie_word_embeddings=False,
        attn_implementation="sdpa",
    )
    return made


def random(shape: Shape, dtype: torch.dtype, device: torch.device, *, capacity: int, seed: int) -> Decoder:
    """A decoder with random weights made where they stay: norms one, everything else normal with std 0.02.

    Raises torch.OutOfMemoryError when the device cannot hold them.
    """
    network = empty(shape, dtype, device, capacity=capacity)
    generator = torch.Generator(device).manual_seed(seed)
    for name, weight in network.named_parameters():
        if name.endswith("norm.weight"):
            nn.init.ones_(weight)
        else:
            weight.normal_(0.0, INITIAL_STD, generator=generator)
    return Decoder(network, shape, capacity=capacity)


def quiet_transformers() -> None:
    """Keep the library's advice and progress bars off the terminal."""
    from transformers.utils import logging

    silent: Any = logging
    silent.set_verbosity_error()
    silent.disable_progress_bar()
