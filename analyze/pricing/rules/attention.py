"""Scaled dot-product attention: two matrix products, 2·q·kv·(d + dv) a query head, over the scores that are computed.

Softmax and scaling are not counted (as FlopCounterMode and the papers); grouped key heads are read once and used by
every query head of their group. What a causal mask leaves depends on the corner it is aligned at: ``is_causal`` of
the SDPA and cuDNN operators means the top left (row i sees its first i + 1 keys), of ``_flash_attention_forward`` the
bottom right (its first kv − q + i + 1); ``custom_mask_type`` of ``_efficient_attention_forward`` says which.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from analyze.pricing.rules.rule import Rule, contiguous
from analyze.pricing.signature import Tensor

if TYPE_CHECKING:
    from analyze.pricing.meta import Bound


Corner = Literal["top left", "bottom right"]
"""Where a causal mask's diagonal ends."""

_CUSTOM_MASKS: dict[str, Corner] = {"1": "top left", "2": "bottom right"}


class Shape(NamedTuple):
    batch: int
    heads: int
    queries: int
    keys: int
    head_dim: int
    value_dim: int


def scores(queries: int, keys: int, causal: Corner | None = None) -> int:
    """Query-key pairs one head computes, of n = min(q, kv): q·kv, n·(n + 1)/2 + (q − n)·kv or n·kv − n·(n − 1)/2.

    >>> scores(2, 4), scores(2, 4, "top left"), scores(2, 4, "bottom right")
    (8, 3, 7)
    """
    square = min(queries, keys)
    if causal == "top left":
        return square * (square + 1) // 2 + (queries - square) * keys
    if causal == "bottom right":
        return square * keys - square * (square - 1) // 2
    return queries * keys


def _shape(bound: Bound, *, heads_first: bool) -> tuple[Shape, Tensor, Tensor, Tensor]:
    query, key, value = (bound.tensor(name) for name in ("query", "key", "value"))
    if query is None or key is None or value is None or not len(query.shape) == len(key.shape) == len(value.shape) == 4:
        raise ValueError("attention needs three four-dimensional operands")
    head, token = (1, 2) if heads_first else (2, 1)
    shape = Shape(
        query.shape[0], query.shape[head], query.shape[token], key.shape[token], query.shape[3], value.shape[3]
    )
    return shape, query, key, value


def _flops(bound: Bound, heads_first: bool, corner: Corner) -> int:
    shape, *_ = _shape(bound, heads_first=heads_first)
    causal = corner if bound.flag("is_causal") else _CUSTOM_MASKS.get(str(bound.arguments.get("custom_mask_type")))
    pairs = scores(shape.queries, shape.keys, causal)
    return 2 * shape.batch * shape.heads * pairs * (shape.head_dim + shape.value_dim)


def _outputs(bound: Bound, heads_first: bool) -> list[Tensor]:
    """The attended values; the log-sum-exp kept for a backward pass is left out."""
    shape, query, _, value = _shape(bound, heads_first=heads_first)
    return [contiguous((*query.shape[:3], shape.value_dim), value)]


def _bytes(bound: Bound, outputs: list[Tensor]) -> tuple[int, int]:
    operands = [t for name in ("query", "key", "value", "attn_bias", "bias", "attn_mask") if (t := bound.tensor(name))]
    return sum(t.distinct_bytes for t in operands), outputs[0].distinct_bytes


def _rule(operators: tuple[str, ...], *, heads_first: bool, corner: Corner) -> Rule:
    return Rule(
        operators,
        flops=lambda bound, _: _flops(bound, heads_first, corner),
        outputs=lambda bound: _outputs(bound, heads_first),
        bytes=_bytes,
    )


RULES = (
    _rule(("_flash_attention_forward", "_efficient_attention_forward"), heads_first=False, corner="bottom right"),
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
        corner="top left",
    ),
)
