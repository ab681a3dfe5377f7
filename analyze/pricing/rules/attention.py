"""Scaled dot-product attention: two matrix products, 2·q·kv·(d + dv) a query head, over the computed scores.

Softmax and scaling are not counted (like FlopCounterMode and the papers). Grouped key heads are read once and used by
every query head of their group. A causal mask is aligned at a corner. ``is_causal`` of the SDPA and cuDNN operators
means the top left (row i sees its first i + 1 keys); in the flash kernels and in SDPA's flash operator it means the
bottom right (its first kv − q + i + 1). ``custom_mask_type`` of ``_efficient_attention_forward`` names the corner. A
sliding window narrows either. A mask that is a tensor is read and changes no count, since the kernel computes the
hidden scores. The backward pass repeats the first product and has four of its own.

For packed sequences of several lengths only the longest is recorded. If all are that long the count is exact, otherwise
FLOPs are unknown. Paged attention does not record lengths: its price takes the longest for all sequences.
"""

from __future__ import annotations

from typing import Literal

from ridgeline.analyze.pricing.binding import Bound
from ridgeline.analyze.pricing.rules.rule import Rule, contiguous
from ridgeline.analyze.pricing.signature import Tensor, total_bytes

Corner = Literal["top left", "bottom right"]
"""The corner in which a causal mask's diagonal ends."""

_CUSTOM_MASKS: dict[str, Corner] = {"1": "top left", "2": "bottom right"}


def _until(queries: int, keys: int, diagonal: int) -> int:
    """Pairs with key − query ≤ diagonal: row i has its first i + diagonal + 1 keys, at most all."""
    first = max(0, -diagonal)  # rows before this one have no keys
    full = min(max(keys - diagonal - 1, first), queries)  # rows from this one on have all keys
    partial = max(full - first, 0)
    return partial * (first + diagonal + 1) + partial * (partial - 1) // 2 + max(queries - max(full, first), 0) * keys


def scores(
    queries: int,
    keys: int,
    causal: Corner | None = None,
    *,
    left: int | None = None,
    right: int | None = None,
    corner: Corner = "bottom right",
) -> int:
    """Query-key pairs of one head: below the diagonal if causal, within ``left`` and ``right`` of it if windowed.

    >>> scores(2, 4), scores(2, 4, "top left"), scores(2, 4, "bottom right"), scores(3, 3, "bottom right", left=1)
    (8, 3, 7, 5)
    """
    diagonal = keys - queries if (causal or corner) == "bottom right" else 0
    right = 0 if causal else right
    upper = queries * keys if right is None else _until(queries, keys, diagonal + right)
    lower = 0 if left is None else _until(queries, keys, diagonal - left - 1)
    return max(upper - lower, 0)


def _lengths(bound: Bound, batch: int, queries: int, keys: int) -> tuple[int, int, int] | None:
    """The number of sequences, and the queries and keys of each; None if they differ or only tensors hold them."""
    if bound.tensors("seqused_k", "seqlen_k", "block_table"):
        return None
    starts = bound.tensor("cum_seq_q") or bound.tensor("cu_seqlens_q")
    if starts is None:
        return batch, queries, keys
    # packed: one sequence in the shapes, its parts between the starts
    batch = starts.elements - 1
    longest_query = bound.number("max_q") or bound.number("max_seqlen_q") or 0
    longest_key = bound.number("max_k") or bound.number("max_seqlen_k") or 0
    is_even = batch * longest_query == queries and batch * longest_key == keys
    return (batch, longest_query, longest_key) if is_even else None


def bounded(window: int | None) -> int | None:
    """A window's width, None if it is unlimited, as -1 is."""
    return window if window is not None and window >= 0 else None


_READ = ("query", "attn_bias", "bias", "attn_mask", "block_table")
_READ_AGAIN = (*_READ, "grad_out", "grad_out_", "out")


def _rule(operators: tuple[str, ...], *, heads_first: bool, corner: Corner, backward: bool = False) -> Rule:
    """A rule for ``operators`` with heads before tokens or after them, and the ``corner`` that ``is_causal`` means."""

    def flops(bound: Bound, outputs: list[Tensor]) -> int | None:
        query, key, value = (bound.needed(name) for name in ("query", "key", "value"))
        if not len(query.shape) == len(key.shape) == len(value.shape) in (3, 4):
            raise ValueError("attention needs three operands of three or four dimensions")
        # A packed batch without a dimension of its own is one sequence.
        batch = query.shape[0] if len(query.shape) == 4 else 1
        head, token = (-3, -2) if heads_first and len(query.shape) == 4 else (-2, -3)
        lengths = _lengths(bound, batch, query.shape[token], key.shape[token])
        if lengths is None:
            return None
        mask = str(bound.arguments.get("custom_mask_type"))
        causal = corner if bound.flag("is_causal") else _CUSTOM_MASKS.get(mask)
        left, right = (bound.number(f"window_size_{side}") for side in ("left", "right"))
        window = bound.number("window_size")
        if window is not None and window > 0:  # the efficient kernel's window counts the query itself
            left = window - 1
        sequences, queries, keys = lengths
        pairs = sequences * scores(queries, keys, causal, left=bounded(left), right=bounded(right))
        head_dim, value_dim = query.shape[-1], value.shape[-1]
        width = 3 * head_dim + 2 * value_dim if backward else head_dim + value_dim
        return 2 * query.shape[head] * pairs * width

    def outputs(bound: Bound) -> list[Tensor]:
        """The gradients, or the attended values; the log-sum-exp for a backward pass is left out."""
        if backward:
            return bound.tensors("query", "key", "value")
        query, value = bound.needed("query"), bound.needed("value")
        return [contiguous((*query.shape[:-1], value.shape[-1]), value)]

    def moved(bound: Bound, outputs: list[Tensor]) -> tuple[int, int]:
        read = total_bytes(bound.tensors(*(_READ_AGAIN if backward else _READ)))
        table, longest = bound.tensor("block_table"), bound.number("max_k")
        for cache in bound.tensors("key", "value"):
            attended = cache.distinct_bytes
            if table is not None and longest is not None:  # pages: the longest length for each sequence
                slots = max(cache.shape[0] * cache.shape[1], 1)
                attended = attended * min(table.shape[0] * longest, slots) // slots
            read += attended
        return read, total_bytes(outputs)

    return Rule(operators, flops, outputs=outputs, bytes=moved)


RULES = (
    _rule(
        ("_flash_attention_forward", "_flash_attention_forward_no_dropout_inplace", "_efficient_attention_forward"),
        heads_first=False, corner="bottom right",
    ),
    _rule(("_scaled_dot_product_flash_attention",), heads_first=True, corner="bottom right"),
    _rule(
        (
            "_cudnn_attention_forward", "_scaled_dot_product_efficient_attention",
            "_scaled_dot_product_cudnn_attention", "_scaled_dot_product_flash_attention_for_cpu",
            "_scaled_dot_product_fused_attention_overrideable", "scaled_dot_product_attention",
        ),
        heads_first=True, corner="top left",
    ),
    _rule(
        ("_flash_attention_backward", "_efficient_attention_backward"),
        heads_first=False, corner="bottom right", backward=True,
    ),
    _rule(("_scaled_dot_product_flash_attention_backward",), heads_first=True, corner="bottom right", backward=True),
    _rule(
        (
            "_cudnn_attention_backward", "_scaled_dot_product_efficient_attention_backward",
            "_scaled_dot_product_cudnn_attention_backward", "_scaled_dot_product_flash_attention_for_cpu_backward",
        ),
        heads_first=True, corner="top left", backward=True,
    ),
)  # fmt: skip
