"""What the arguments of a module's call say about a step: positions processed and attended to, sequences, a cache.

Only shapes are read, so nothing waits for a device and no kernel is launched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ridgeline.capture.recording.program import argument_names

FIRST = ("decoder_input_ids", "decoder_inputs_embeds", "input_ids", "inputs_embeds")
"""Names that Hugging Face's models give their tokens, the decoder's before the encoder's."""

NOT_TOKENS = re.compile(r"mask|position|label|target|type|past|cache|length|seqlen|slot|block|encoder_(?!hidden)")
"""Parts of the names of integer tensors that hold something other than tokens."""

EMBEDDED = re.compile(r"embed|hidden")
"""Parts of the names of floating-point tensors [batch, query, hidden]."""

CACHES = ("past_key_values", "past_key_value", "cache_params", "kv_cache", "cache")
INTEGERS = (torch.int64, torch.int32)


Inputs = tuple[int | None, int | None, int | None, bool]
"""Positions processed (query), positions attended to (context), sequences (batch) with so many each, None if unknown;
and whether the call has a cache or asks for one.
"""


class Layout(NamedTuple):
    """Places among the values of a call, arguments before keywords.

    `tokens` may hold tokens, the likeliest first, each with whether it may hold embeddings. `caches` may hold a cache.
    `mask` and `use_cache` are -1 where the call has none.
    """

    tokens: tuple[tuple[int, bool], ...]
    caches: tuple[int, ...]
    mask: int
    use_cache: int


class Reader:
    """Reads calls of `forward` by the names of its parameters, which it looks at once for each way to call it."""

    def __init__(self, forward: Any) -> None:
        self._names = argument_names(forward)
        self._layouts: dict[Any, Layout] = {}

    def read(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Inputs:
        """Return what a call says."""
        way = (len(args), *kwargs) if kwargs else len(args)
        tokens, caches, mask, use_cache = self._layouts.get(way) or self._layout(way, len(args), kwargs)
        values = args + tuple(kwargs.values()) if kwargs else args
        cache = None
        for place in caches:
            cache = values[place]
            if cache is not None:
                break
        cached = cache is not None or (use_cache >= 0 and bool(values[use_cache]))
        for place, embedded in tokens:
            value = values[place]
            if not isinstance(value, Tensor):
                continue
            shape = value.shape
            dimensions = len(shape)
            is_tokens = dimensions == 2 and value.dtype in INTEGERS
            if is_tokens or (embedded and dimensions == 3 and value.is_floating_point()):
                batch, query = shape[0], shape[1]
                return query, _context(values[mask] if mask >= 0 else None, cache, query), batch, cached
        return None, None, None, cached

    def _layout(self, way: Any, arguments: int, keywords: Iterable[str]) -> Layout:
        """Look at the names of a new way to call it."""
        places = {name: place for place, name in enumerate(self._names[:arguments])}
        places |= {name: place for place, name in enumerate(keywords, arguments)}
        order = [name for name in FIRST if name in places] + [name for name in places if name not in FIRST]
        mask = "decoder_attention_mask" if "decoder_input_ids" in places else "attention_mask"
        self._layouts[way] = layout = Layout(
            tokens=tuple((places[name], bool(EMBEDDED.search(name))) for name in order if not NOT_TOKENS.search(name)),
            caches=tuple(places[name] for name in CACHES if name in places),
            mask=places.get(mask, -1),
            use_cache=places.get("use_cache", -1),
        )
        return layout


def _context(mask: Any, cache: Any, query: int) -> int | None:
    """The positions attended to: of a mask [batch, context], or in a cache that grows and in the query."""
    if isinstance(mask, Tensor):
        shape = mask.shape
        if len(shape) == 2 and shape[1] >= query:
            return shape[1]
    if isinstance(cache, tuple | list) and cache and isinstance(cache[0], tuple | list) and cache[0]:
        keys = cache[0][0]
        return keys.shape[-2] + query if isinstance(keys, Tensor) and keys.dim() == 4 else None
    # A cache of fixed size counts its positions on the device; one that grows has them in a shape.
    if type(cache).__name__ == "DynamicCache":
        length = cache.get_seq_length()
        return length + query if isinstance(length, int) else None
    return None
