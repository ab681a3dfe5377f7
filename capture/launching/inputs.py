"""What the arguments of a module's call say about a step: positions processed and attended to, sequences, a cache.

Only shapes are read, so nothing waits for a device and no kernel is launched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from ridgeline.capture.recording.program import argument_names

FIRST = ("decoder_input_ids", "decoder_inputs_embeds", "input_ids", "inputs_embeds")
"""Names that Hugging Face's models give their tokens, the decoder's before the encoder's."""

NOT_TOKENS = re.compile(r"mask|position|label|target|type|past|cache|length|seqlen|slot|block|encoder_(?!hidden)")
"""Parts of the names of integer tensors that hold something other than tokens."""

EMBEDDED = re.compile(r"embed|hidden")
"""Parts of the names of floating-point tensors [batch, query, hidden]."""

CACHES = ("past_key_values", "past_key_value", "cache_params", "kv_cache", "cache")
INTEGERS = (torch.int64, torch.int32)


class Inputs(NamedTuple):
    """`query` positions processed and `context` positions attended to, for each of `batch` sequences; None if unknown.

    `cached` is true where the call has a cache or asks for one.
    """

    query: int | None = None
    context: int | None = None
    batch: int | None = None
    cached: bool = False


def inputs_of(model: type[nn.Module], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Inputs:
    """Return what a call of a module of class `model` says by the names of its forward's parameters."""
    named = dict(zip(argument_names(model.forward), args, strict=False)) | dict(kwargs)
    cache = next((named[name] for name in CACHES if named.get(name) is not None), None)
    cached = cache is not None or bool(named.get("use_cache"))
    tokens = next(_tokens(named), None)
    if tokens is None:
        return Inputs(cached=cached)
    batch, query = tokens.shape[:2]
    return Inputs(query, _context(named, cache, query), batch, cached)


def _tokens(named: Mapping[str, Any]) -> Iterator[torch.Tensor]:
    """The tensors whose second dimension is the query, the likeliest first."""
    order = [name for name in FIRST if name in named] + [name for name in named if name not in FIRST]
    for name in order:
        value = named[name]
        if not isinstance(value, torch.Tensor) or NOT_TOKENS.search(name):
            continue
        is_tokens = value.dim() == 2 and value.dtype in INTEGERS
        if is_tokens or (value.dim() == 3 and value.is_floating_point() and EMBEDDED.search(name)):
            yield value


def _context(named: Mapping[str, Any], cache: Any, query: int) -> int | None:
    """The positions attended to: of a mask [batch, context], or in a cache that grows and in the query."""
    mask = named.get("decoder_attention_mask" if "decoder_input_ids" in named else "attention_mask")
    if isinstance(mask, torch.Tensor) and mask.dim() == 2 and mask.shape[1] >= query:
        return mask.shape[1]
    if isinstance(cache, tuple | list) and cache and isinstance(cache[0], tuple | list) and cache[0]:
        keys = cache[0][0]
        return keys.shape[-2] + query if isinstance(keys, torch.Tensor) and keys.dim() == 4 else None
    # A cache of fixed size counts its positions on the device; one that grows has them in a shape.
    if type(cache).__name__ == "DynamicCache":
        length = cache.get_seq_length()
        return length + query if isinstance(length, int) else None
    return None
