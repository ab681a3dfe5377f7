"""Scaled dot-product attention with what its kernels keep for the backward pass."""

from __future__ import annotations

from ridgeline.analyze.pricing.outputs.calls import Result, broadcast, check, dense, same_as, same_as_each, table
from ridgeline.analyze.pricing.signature import Arguments


def _attended(call: Arguments) -> Result:
    """The values weighted for each query. Grouped key heads serve several query heads."""
    query, key, value = (call.needed(name) for name in ("query", "key", "value"))
    check(len(query.shape) >= 2 and query.shape[-1] == key.shape[-1] and key.shape[-2] == value.shape[-2])
    check(query.precision == key.precision == value.precision)
    batch = query.shape[:-2]
    if not call.flag("enable_gqa"):
        batch = broadcast(query.shape[:-2], key.shape[:-2], value.shape[:-2])
    return [dense((*batch, query.shape[-2], value.shape[-1]), query.precision)]


def _computed(call: Arguments) -> Result:
    """The result, and the weights of all keys."""
    (result,) = _attended(call)
    return [result, dense((*result.shape[:-1], call.needed("key").shape[-2]), result.precision)]


RULES = table(
    ("scaled_dot_product_attention", _attended),
    ("_scaled_dot_product_attention_math _scaled_dot_product_attention_math_for_mps", _computed),
    ("_scaled_dot_product_fused_attention_overrideable_backward", same_as_each("query", "key", "value")),
    ("_transformer_encoder_layer_fwd", same_as("src")),
)
