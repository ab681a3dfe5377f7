"""DiffusionGemma, transformers' block diffusion model: its text network at a preset's shape, with random weights.

An encoder and a decoder share their weights. The encoder is causal and caches keys and values of decided tokens. The
decoder denoises a canvas against that cache; attention inside the canvas is bidirectional. Both forwards are the
library's. The cache is this module's: it has the interface of the library's dynamic cache and shows the same slots, in
memory of fixed size and address.
"""

import inspect
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ridgeline.capture.configuration.shape import FULL_EVERY, Shape
from ridgeline.capture.decoder.decoder import INITIAL_STD, Weights, sizes


class Slots(NamedTuple):
    """A layer's keys and values under the names that the library reads, `[batch, kv_heads, slots, head_dim]` each."""

    keys: Tensor
    values: Tensor


class EncoderCache:
    """Keys and values of all encoded tokens, a pair of tensors `[batch, kv_heads, capacity, head_dim]` per layer.

    The library uses `layers`, `update` and `is_compileable` of a cache. `layers` are views of the slots that a canvas
    sees: all slots before it, or the last of them in a layer with a sliding window. Nothing is allocated and the host
    knows every length, so a step never waits for the device and a CUDA graph of it can be replayed.
    """

    is_compileable = False

    def __init__(self, network: Any, *, batch: int, capacity: int, dtype: torch.dtype, device: torch.device) -> None:
        self.slots: list[Slots] = []
        self._windows: list[int | None] = []
        for layer in network.model.decoder.layers:
            attention = layer.self_attn
            size = (batch, attention.k_proj.out_features // attention.head_dim, capacity, attention.head_dim)
            self.slots.append(Slots(*(torch.zeros(size, dtype=dtype, device=device) for _ in "kv")))
            self._windows.append(attention.sliding_window)
        self.start = 0
        self.layers: list[Slots] = []

    @property
    def nbytes(self) -> int:
        """Bytes of all layers."""
        return sum(tensor.nbytes for slots in self.slots for tensor in slots)

    def place(self, start: int) -> None:
        """Set the first position of the next forward: a decoder sees the slots before it, an encoder writes there."""
        self.start = start
        self.layers = [self._visible(layer, start) for layer in range(len(self.slots))]

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any) -> Slots:
        """Write a layer's new keys and values, and return them with the visible slots before them."""
        stop = self.start + keys.shape[2]
        for stored, new in zip(self.slots[layer], (keys, values), strict=True):
            stored[:, :, self.start : stop].copy_(new)
        return self._visible(layer, stop)

    def _visible(self, layer: int, stop: int) -> Slots:
        """Views of a layer's slots up to `stop`, from the first slot that a token at `start` sees."""
        first = first_visible(self.start, self._windows[layer])
        return Slots(*(stored[:, :, first:stop] for stored in self.slots[layer]))


class GemmaDecoder(Weights):
    """The weights and the two forwards over them."""

    def __init__(self, network: Any, shape: Shape) -> None:
        """Wrap a network of `empty_network` with initialized weights."""
        super().__init__(network, shape)
        self._cache_keyword = cache_keyword(network)

    def reserve(self, capacity: int) -> None:
        """Do nothing: the library computes rotary angles in every forward, for any position."""

    def attend_by(self, backend: str) -> None:
        """Do nothing: attention is the library's, so a configuration may only ask for `auto`."""
        assert backend == "auto"

    def cache(self, *, batch: int, capacity: int) -> EncoderCache:
        """An empty cache for `batch` sequences of `capacity` positions."""
        return EncoderCache(self.network, batch=batch, capacity=capacity, dtype=self.dtype, device=self.device)

    def encode(self, tokens: Tensor, context: Tensor, cache: EncoderCache) -> None:
        """Cache keys and values of `tokens` `[batch, query]` at the last positions of `context` `[context]`."""
        start = context.shape[0] - tokens.shape[1]
        cache.place(start)
        self.network.model.encoder.language_model(
            input_ids=tokens,
            position_ids=context[None, start:],
            attention_mask={
                "full_attention": causal_mask(context, start, None),
                "sliding_attention": causal_mask(context, start, self.network.config.text_config.sliding_window),
            },
            **{self._cache_keyword: cache},
        )

    def denoise(
        self, canvas: Tensor, context: Tensor, cache: EncoderCache, previous: Tensor, conditioned: Tensor
    ) -> Tensor:
        """Logits `[batch, block, vocabulary]`, float32, of a `canvas` `[batch, block]`.

        The canvas is at the last positions of `context` `[context]`. `previous` `[batch, block, vocabulary]` are the
        logits of its last denoising step; the model is conditioned on them where `conditioned` `[batch]` is true.
        """
        start = context.shape[0] - canvas.shape[1]
        cache.place(start)
        logits: Tensor = self.network(
            decoder_input_ids=canvas,
            decoder_position_ids=context[None, start:],
            self_conditioning_logits=previous,
            self_conditioning_mask=conditioned,
            **{self._cache_keyword: cache},
        ).logits
        return logits


def cache_keyword(network: Any) -> str:
    """The library's keyword for a cache: `cache`, or `past_key_values` in older versions."""
    return "cache" if "cache" in inspect.signature(network.forward).parameters else "past_key_values"


def first_visible(position: int, window: int | None) -> int:
    """The first position that a token at `position` sees through a sliding `window`, which includes the token."""
    return 0 if window is None else max(0, position - window + 1)


def causal_mask(context: Tensor, start: int, window: int | None) -> Tensor | None:
    """The mask `[1, 1, query, visible]` of the positions of `context` `[context]` from `start`, true where they see.

    None where the mask equals plain causal attention, which a fused kernel computes without one.
    """
    length = context.shape[0]
    # With no cached positions, and a window that hides none of them, causality is the whole mask.
    if start == 0 and (window is None or length <= window):
        return None
    queries, keys = context[start:, None], context[None, first_visible(start, window) :]
    visible = keys <= queries
    return (visible if window is None else visible & (keys > queries - window))[None, None]


def random_decoder(shape: Shape, dtype: torch.dtype, device: torch.device, *, seed: int) -> GemmaDecoder:
    """A decoder with random weights, generated on `device`: norms and scales are one, others normal with std 0.02.

    Raises torch.OutOfMemoryError when the device cannot hold them.
    """
    network = empty_network(shape, dtype, device)
    generator = torch.Generator(device).manual_seed(seed)
    for weight in network.parameters():
        if weight.dim() == 1:
            nn.init.ones_(weight)
        else:
            weight.normal_(0.0, INITIAL_STD, generator=generator)
    return GemmaDecoder(network, shape)


def empty_network(shape: Shape, dtype: torch.dtype, device: torch.device) -> Any:
    """A network of the shape without its vision part, with uninitialized weights and valid buffers on `device`.

    Weights are shared where the library shares them. On the meta device nothing is allocated.
    """
    from transformers import DiffusionGemmaForBlockDiffusion  # Older versions lack it and serve all other models.

    with torch.device("meta"):
        network: Any = DiffusionGemmaForBlockDiffusion(network_config(shape, dtype, device))
        network.to(dtype)
    del network.model.encoder.vision_tower, network.model.encoder.embed_vision
    network.tie_weights()
    # to_empty() would give each module that shares a weight a copy of its own.
    allocated: dict[nn.Parameter, nn.Parameter] = {}
    for module in network.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            if weight not in allocated:
                allocated[weight] = nn.Parameter(torch.empty_like(weight, device=device), requires_grad=False)
            setattr(module, name, allocated[weight])
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, torch.empty_like(buffer, device=device))
    # Buffers lost their values on the meta device. Inverse frequencies are float32 in every dtype.
    for body in (network.model.encoder.language_model, network.model.decoder):
        body.rotary_emb = type(body.rotary_emb)(network.config.text_config).to(device)
        body.embed_tokens.embed_scale.fill_(body.embed_tokens.scalar_embed_scale)
        for layer in body.layers:
            layer.layer_scalar.fill_(1.0)
    return network.requires_grad_(False)


def network_config(shape: Shape, dtype: torch.dtype, device: torch.device) -> Any:
    """The library's configuration for a shape, with PyTorch's scaled dot product attention."""
    from transformers import DiffusionGemmaConfig

    sliding = [index + 1 < shape.layers and (index + 1) % FULL_EVERY != 0 for index in range(shape.layers)]
    text = {
        **sizes(shape),
        "global_head_dim": shape.global_head_dim,
        "max_position_embeddings": shape.max_positions,
        "num_experts": shape.experts,
        "top_k_experts": shape.experts_per_token,
        "moe_intermediate_size": shape.moe_ffn,
        "sliding_window": shape.sliding_window,
        "layer_types": ["sliding_attention" if slides else "full_attention" for slides in sliding],
    }
    # The library insists on a vision part, which `empty_network` then deletes; this one is as small as possible.
    vision = {"model_type": "gemma4_vision", "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    library: Any = DiffusionGemmaConfig  # Its signature lacks the keywords of its base class.
    return library(
        text_config=text,
        vision_config=vision,
        attn_implementation="sdpa",
        experts_implementation=experts_implementation(dtype, device),
    )


def experts_implementation(dtype: torch.dtype, device: torch.device) -> str:
    """The library's method to multiply by experts: `grouped_mm`, its default, or `batched_mm` where that would wait.

    PyTorch's grouped product has a CUDA kernel for bf16 only. With other types it reads the group sizes from the
    device.
    """
    waits = device.type == "cuda" and dtype is not torch.bfloat16
    return "batched_mm" if waits else "grouped_mm"
