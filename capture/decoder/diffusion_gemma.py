"""DiffusionGemma, transformers' own block diffusion model: its text network at a preset's shape, with random weights.

An encoder and a decoder share their weights. The encoder is causal and writes keys and values of what is decided; the
decoder denoises a canvas, bidirectional inside it, against them. Both forwards are the library's. The cache is ours: it
has the library's interface and shows the slots its dynamic cache would keep, in memory that stays where it is.
"""

import inspect
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ridgeline.capture.configuration.presets import FULL_EVERY, Shape

INITIAL_STD = 0.02


class Slots(NamedTuple):
    """A layer's keys and values as the library reads them, `[batch, kv_heads, slots, head_dim]` each."""

    keys: Tensor
    values: Tensor


class EncoderCache:
    """Keys and values of everything encoded, a pair of tensors `[batch, kv_heads, capacity, head_dim]` a layer.

    The library asks a cache for `layers`, `update` and `is_compileable`. `layers` are views of what a canvas may see:
    all that precedes it, or in layers with a sliding window the last of it. Nothing is allocated, and the host knows
    every length, so a step never waits for the device and a CUDA graph of it can be replayed.
    """

    is_compileable = False

    def __init__(self, network: Any, *, batch: int, capacity: int, dtype: torch.dtype, device: torch.device) -> None:
        attentions = [layer.self_attn for layer in network.model.decoder.layers]
        sizes = [(batch, at.k_proj.out_features // at.head_dim, capacity, at.head_dim) for at in attentions]
        self.slots = [Slots(*(torch.zeros(size, dtype=dtype, device=device) for _ in "kv")) for size in sizes]
        self._windows: list[int | None] = [attention.sliding_window for attention in attentions]
        self.start = 0
        self.layers: list[Slots] = []

    @property
    def nbytes(self) -> int:
        """Bytes of all layers."""
        return sum(tensor.nbytes for slots in self.slots for tensor in slots)

    def place(self, start: int) -> None:
        """Say where the tokens of the next forward begin: the decoder sees what precedes, the encoder adds to it."""
        self.start = start
        self.layers = [self._visible(layer, start) for layer in range(len(self.slots))]

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any) -> Slots:
        """Write a layer's new keys and values, and give them together with what precedes them."""
        stop = self.start + keys.shape[2]
        for stored, new in zip(self.slots[layer], (keys, values), strict=True):
            stored[:, :, self.start : stop].copy_(new)
        return self._visible(layer, stop)

    def _visible(self, layer: int, stop: int) -> Slots:
        """Views of a layer's slots up to `stop`, from the first that a token at `start` may see."""
        first = first_visible(self.start, self._windows[layer])
        return Slots(*(stored[:, :, first:stop] for stored in self.slots[layer]))


class GemmaDecoder:
    """The weights, and the two forwards over them."""

    def __init__(self, network: Any, shape: Shape) -> None:
        """Wrap a network of `empty`, filled."""
        self.network = network
        self.network.train(False)
        self.shape = shape
        self.dtype: torch.dtype = network.lm_head.weight.dtype
        self.device: torch.device = network.lm_head.weight.device
        self.depth = shape.layers
        self._cache_keyword = cache_keyword(network)

    @property
    def nbytes(self) -> int:
        """Bytes of all weights and buffers, those that encoder and decoder share counted once."""
        tensors = (*self.network.parameters(), *self.network.buffers())
        return sum(tensor.nbytes for tensor in tensors)

    def reserve(self, capacity: int) -> None:
        """Nothing is kept for positions: the library computes their rotary angles in every forward."""

    def attend_by(self, backend: str) -> None:
        """Leave the choice to PyTorch: attention is the library's here, and `auto` is all that may be asked for."""
        assert backend == "auto"

    def cache(self, *, batch: int, capacity: int) -> EncoderCache:
        """An empty cache for `batch` sequences of `capacity` positions."""
        return EncoderCache(self.network, batch=batch, capacity=capacity, dtype=self.dtype, device=self.device)

    def encode(self, tokens: Tensor, context: Tensor, cache: EncoderCache) -> None:
        """Write keys and values of `tokens` `[batch, query]`, the last of the positions `context` `[context]`."""
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
        """Logits `[batch, block, vocabulary]`, float32, of a `canvas` `[batch, block]`, last of `context` `[context]`.

        `previous` `[batch, block, vocabulary]` are the logits of the canvas's last denoising step, which the model is
        conditioned on where `conditioned` `[batch]` is true.
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
    """What this version of the library calls a cache: `cache`, or as older versions do `past_key_values`."""
    return "cache" if "cache" in inspect.signature(network.forward).parameters else "past_key_values"


def first_visible(position: int, window: int | None) -> int:
    """The first position a token at `position` sees through a sliding window that counts itself, or without one."""
    return 0 if window is None else max(0, position - window + 1)


def causal_mask(context: Tensor, start: int, window: int | None) -> Tensor | None:
    """Who of `context` `[context]` the positions from `start` see: `[1, 1, query, visible]`, true where they look.

    None where plain causal attention is all there is to it, which a fused kernel does without a mask.
    """
    length = context.shape[0]
    if start == 0 and (window is None or length <= window):
        return None
    queries, keys = context[start:, None], context[None, first_visible(start, window) :]
    seen = keys <= queries
    return (seen if window is None else seen & (keys > queries - window))[None, None]


def random_decoder(shape: Shape, dtype: torch.dtype, device: torch.device, *, seed: int) -> GemmaDecoder:
    """A decoder with random weights made where they stay: norms and scales one, all else normal with std 0.02.

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
    """A network of the shape without vision, its weights allocated on `device`, shared where the library shares them.

    Buffers hold their values; weights are not yet filled. On the meta device there is no memory at all.
    """
    from transformers import DiffusionGemmaForBlockDiffusion  # Older versions, good for every other model, lack it.

    with torch.device("meta"):
        network: Any = DiffusionGemmaForBlockDiffusion(network_config(shape, dtype, device))
        network.to(dtype)
    del network.model.encoder.vision_tower, network.model.encoder.embed_vision
    network.tie_weights()
    _allocate(network, device)
    _restore_buffers(network, device)
    return network.requires_grad_(False)


def _allocate(network: nn.Module, device: torch.device) -> None:
    """Give every weight and buffer memory on `device`, and a weight shared by several modules only once."""
    made: dict[nn.Parameter, nn.Parameter] = {}
    for module in network.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            if weight not in made:
                made[weight] = nn.Parameter(torch.empty_like(weight, device=device), requires_grad=False)
            setattr(module, name, made[weight])
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, torch.empty_like(buffer, device=device))


def _restore_buffers(network: Any, device: torch.device) -> None:
    """Fill what is no weight: scales, and inverse frequencies, float32 whatever the weights are."""
    for body in (network.model.encoder.language_model, network.model.decoder):
        body.rotary_emb = type(body.rotary_emb)(network.config.text_config).to(device)
        body.embed_tokens.embed_scale.fill_(body.embed_tokens.scalar_embed_scale)
        for layer in body.layers:
            layer.layer_scalar.fill_(1.0)


def network_config(shape: Shape, dtype: torch.dtype, device: torch.device) -> Any:
    """The library's configuration of a shape, with PyTorch's scaled dot product attention.

    The vision network is as small as can be, as it has to be described in order to be left out.
    """
    from transformers import DiffusionGemmaConfig

    library: Any = DiffusionGemmaConfig  # Keywords of its base class are not in its signature.
    vision = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    return library(
        text_config=_text(shape),
        vision_config={"model_type": "gemma4_vision", **vision},
        attn_implementation="sdpa",
        experts_implementation=experts_implementation(dtype, device),
    )


def experts_implementation(dtype: torch.dtype, device: torch.device) -> str:
    """How the library multiplies by experts: grouped, as it does by default, or where PyTorch would wait, batched.

    On a GPU, PyTorch's grouped product has a kernel for bf16 alone; with other types it asks the device for the groups.
    """
    waits = device.type == "cuda" and dtype is not torch.bfloat16
    return "batched_mm" if waits else "grouped_mm"


def _text(shape: Shape) -> dict[str, Any]:
    """The text network's part of the configuration."""
    full = [(index + 1) % FULL_EVERY == 0 or index == shape.layers - 1 for index in range(shape.layers)]
    return {
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.ffn,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "global_head_dim": shape.global_head_dim,
        "rms_norm_eps": shape.norm_eps,
        "max_position_embeddings": shape.max_positions,
        "num_experts": shape.experts,
        "top_k_experts": shape.experts_per_token,
        "moe_intermediate_size": shape.moe_ffn,
        "sliding_window": shape.sliding_window,
        "layer_types": ["full_attention" if whole else "sliding_attention" for whole in full],
    }
