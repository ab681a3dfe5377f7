"""Writes to caches of keys and values touch the slots of the step's tokens.

A padded step has more keys than slots; only keys with a slot are read and written.
"""

from __future__ import annotations

from ridgeline.analyze.pricing.rules.rule import EngineBytes, EngineRule, never, no_flops
from ridgeline.analyze.pricing.signature import Arguments


def _stored(*pairs: tuple[str, str]) -> EngineBytes:
    """As many rows as there are slots move from each source to its cache, in the types of both."""

    def moved(call: Arguments) -> tuple[int, int]:
        read = written = 0
        for source, cache in ((call.needed(source), call.needed(cache)) for source, cache in pairs):
            # a row of the source for each slot
            elements = call.needed("slots").elements * source.elements // max(source.shape[0], 1)
            read += elements * source.item_bytes
            written += elements * cache.item_bytes
        return read, written

    return moved


RULES = (
    EngineRule(
        (
            "_C_cache_ops::reshape_and_cache", "_C_cache_ops::reshape_and_cache_flash", "sglang::store_cache",
            "aiter::reshape_and_cache", "aiter::reshape_and_cache_flash",
        ),
        "-key -value -key_cache -value_cache slots", no_flops, _stored(("key", "key_cache"), ("value", "value_cache")),
    ),
    # the latent and the rotated part lie side by side in one slot
    EngineRule(
        ("_C_cache_ops::concat_and_cache_mla",), "-latent -rotated -cache slots",
        no_flops, _stored(("latent", "cache"), ("rotated", "cache")),
    ),
    # a slot for each position
    EngineRule(
        ("flashinfer::append_paged_kv_cache",), "-key -value batches slots -key_cache -value_cache",
        no_flops, _stored(("key", "key_cache"), ("value", "value_cache")),
    ),
    # the room for the gathered tokens may be larger than what is gathered
    EngineRule(
        ("_C_cache_ops::gather_and_maybe_dequant_cache", "_C_cache_ops::cp_gather_cache"), "-cache =gathered table",
        no_flops, lambda call: (call.needed("gathered").elements * call.needed("cache").item_bytes, 0), never,
    ),
)  # fmt: skip
