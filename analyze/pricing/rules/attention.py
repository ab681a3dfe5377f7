"""Scaled dot-product attention: two matrix products, 2·q·kv·(d + dv) a query head, over the scores that are computed.

Softmax and scaling are not counted (as FlopCounterMode and the papers). A causal mask computes row i's first
kv − q + i + 1 scores (aligned at the bottom right, as flash kernels do); grouped key heads are read once and used by
every query head of their group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from analyze.pricing.rules.rule import Rule, contiguous
from analyze.pricing.signature import Tensor

if TYPE_CHECKING:
    from analyze.pricing.meta import Bound


class Shape(NamedTuple):
    batch: int
    heads: int
    queries: int
    keys: int
    head_dim: int
    value_dim: int


def scores(queries: int, keys: int, *, causal: bool) -> int:
    """Query-key pairs one head computes.

    >>> scores(4, 4, causal=True)
    10
    """
    if not causal:
        return queries * keys
    return sum(max(0, min(keys, keys - queries + i + 1)) for i in range(queries))


def _shape(bound: Bound, *, heads_first: bool) -> tuple[Shape, Tensor, Tensor, Tensor]:
    query, key, value = (bound.tensor(name) for name in ("query", "key", "value"))
    if query is None or key is None or value is None or not len(query.shape) == len(key.shape) == len(value.shape) == 4:
        raise ValueError("attention needs three four-dimensional operands")
    head, token = (1, 2) if heads_first else (2, 1)
    shape = Shape(
        query.shape[0], query.shape[head], query.shape[token], key.shape[token], query.shape[3], value.shape[3]
    )
    return shape, query, key, value


def _flops(bound: Bound, heads_first: bool) -> int:
    shape, *_ = _shape(bound, heads_first=heads_first)
    causal = bound.flag("is_causal") or bound.arguments.get("custom_mask_type") in ("1", "2")
    pairs = scores(shape.queries, shape.keys, causal=causal)
    return 2 * shape.batch * shape.heads * pairs * (shape.head_dim + shape.value_dim)


def _outputs(bound: Bound, heads_first: bool) -> list[Tensor]:
    """The attended values; the log-sum-exp kept for a backward pass is left out."""
    shape, query, _, value = _shape(bound, heads_first=heads_first)
    return [contiguous((*query.shape[:3], shape.value_dim), value)]


def _bytes(bound: Bound, outputs: list[Tensor]) -> tuple[int, int]:
    operands = [t for name in ("query", "key", "value", "attn_bias", "bias", "attn_mask") if (t := bound.tensor(name))]
    return sum(t.distinct_bytes for t in operands), outputs[0].distinct_bytes


def _rule(operators: tuple[str, ...], *, heads_first: bool) -> Rule:
    return Rule(
        operators,
        flops=lambda bound, _: _flops(bound, heads_first),
        outputs=lambda bound: _outputs(bound, heads_first),
        bytes=_bytes,
    )


RULES = (
    _rule(("_flash_attention_forward", "_efficient_attention_forward"), heads_first=False),
    _rule(
        (
            "_cudnn_attention_forward",
            "_scaled_dot_product_flash_attention",
            "_scaled_dot_product_efficient_attention",
            "_scaled_dot_product_cudnn_attention",
            "_scaled_dot_product_flash_attention_for_cpu",
            "_scaled_dot_product_fused_attention_overrideable",
        ),
        heads_first=True,
    ),
)
