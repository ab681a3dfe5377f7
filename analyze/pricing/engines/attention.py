"""Attention of engines: as :mod:`ridgeline.analyze.pricing.rules.attention`, with the mask in the bottom right corner.

Operands have tokens before heads. For packed sequences (``cu_q``, ``cu_k``) only the longest lengths are recorded: if
all sequences are that long, the count is exact, otherwise FLOPs are unknown. Paged attention records neither the
lengths nor the pages in use: its price takes the longest for all sequences, or the room in the table of pages, and at
most what the pool of pages has.
"""

from __future__ import annotations

from ridgeline.analyze.pricing.rules.attention import Corner, bounded, scores
from ridgeline.analyze.pricing.rules.rule import EngineFlops, EngineRule, each, never, unknown_flops
from ridgeline.analyze.pricing.signature import Arguments, total_bytes


def _lengths(call: Arguments) -> tuple[int, int, int] | None:
    """The number of sequences, and the queries and keys of each; None if they differ or only tensors hold them."""
    query, key = call.needed("query"), call.needed("key")
    if call.tensors("used_q", "used_k", "table"):
        return None
    if len(query.shape) == 4:
        return None if call.tensor("cu_k") else (query.shape[0], query.shape[1], key.shape[1])
    starts = call.tensor("cu_q")
    if starts is None or len(query.shape) != 3:
        raise ValueError("attention needs four dimensions, or three and the starts of the sequences")
    sequences = starts.elements - 1
    queries, keys = call.number("longest_q") or 0, call.number("longest") or 0
    is_even = sequences * queries == query.shape[0] and sequences * keys == key.shape[0]
    return (sequences, queries, keys) if is_even else None


def _scored(*, backward: bool) -> EngineFlops:
    """The two products of the forward pass, or the five of the backward pass, over the pairs that are not masked."""

    def flops(call: Arguments) -> int | None:
        if (lengths := _lengths(call)) is None:
            return None
        sequences, queries, keys = lengths
        left, right = (bounded(call.number(side)) for side in ("left", "right"))
        causal: Corner | None = "bottom right" if call.flag("causal") else None
        pairs = sequences * scores(queries, keys, causal, left=left, right=right)
        query, value = call.needed("query"), call.needed("value")
        head_dim, value_dim = query.shape[-1], value.shape[-1]
        return 2 * query.shape[-2] * pairs * (3 * head_dim + 2 * value_dim if backward else head_dim + value_dim)

    return flops


def _even(call: Arguments) -> bool:
    """Whether all lengths are recorded."""
    return _lengths(call) is not None


def _result_bytes(call: Arguments) -> int:
    """Bytes of the result, one vector of the values' width for each query; 0 if an argument takes it."""
    if call.tensor("out"):
        return 0
    query, value = call.needed("query"), call.needed("value")
    item_bytes = 2 if query.precision == "fp8" else query.item_bytes
    return query.elements // max(query.shape[-1], 1) * value.shape[-1] * item_bytes


def _result(call: Arguments) -> tuple[int, int]:
    return 0, _result_bytes(call)


def _like_query(call: Arguments) -> tuple[int, int]:
    """The result, which has the queries' shape."""
    query = call.needed("query")
    return 0, query.elements * (2 if query.precision == "fp8" else query.item_bytes)


def _paged(call: Arguments) -> tuple[int, int]:
    """(sequences, keys of each) read from the pages: the longest length for all, or the room in the table."""
    table, (pages, *_) = call.needed("table"), call.needed("key").shape
    sequences, room = table.shape
    size = call.number("block") or call.needed("key").shape[1]
    keys = min(call.number("longest") or room * size, room * size)
    return sequences, min(keys, pages * size)


def _paged_moved(call: Arguments) -> tuple[int, int]:
    """Keys and values of every sequence are read, and the result written if it is returned."""
    sequences, keys = _paged(call)
    caches = call.tensors("key", "value")
    size = call.number("block") or call.needed("key").shape[1]
    read = sum(sequences * keys * t.distinct_bytes // max(t.shape[0] * size, 1) for t in caches)
    return read, 0 if call.tensor("out") else _like_query(call)[1]


def _paged_flops(call: Arguments) -> int:
    """Every query attends to all keys of its sequence."""
    sequences, keys = _paged(call)
    return 4 * keys * call.needed("query").elements if sequences else 0


def _any_flops(call: Arguments) -> int | None:
    return _paged_flops(call) if call.tensor("table") else _scored(backward=False)(call)


def _any_moved(call: Arguments) -> tuple[int, int]:
    """Of pages what the sequences use; otherwise all keys and values."""
    if call.tensor("table"):
        return _paged_moved(call)
    return total_bytes(call.tensors("key", "value")), _result_bytes(call)


_PAGED_TAIL = "-key -value _heads _scale table lengths _block _longest"
_FLASH3 = (
    "query -key -value new_key? new_value? q_v? =out? cu_q? cu_k? cu_new? used_q? used_k? _longest_q? _longest? table?"
    " batches? left_pad? cosine? sine? rotated? q_scale? k_scale? v_scale? _scale? _causal? _left? _right?"
)
_BACKWARD = "grad query key value out lse"
_WINDOW = "_dropout? _scale? _causal? _left? _right?"

RULES = (
    EngineRule(
        ("flash_attn::_flash_attn_forward", "flashattn::_flash_attn_forward", "aiter::mha_fwd", "aiter::fmha_v3_fwd"),
        f"query key value {_WINDOW}", _scored(backward=False), _result, _even,
    ),
    EngineRule(
        ("flash_attn::_flash_attn_varlen_forward", "flashattn::_flash_attn_varlen_forward"),
        f"query -key -value cu_q cu_k _longest_q _longest {_WINDOW} _softcap? slopes? _return? table?",
        _any_flops, _any_moved, _even,
    ),
    EngineRule(
        ("flash_attn::_flash_attn_backward", "flashattn::_flash_attn_backward"),
        f"{_BACKWARD} =dq =dk =dv {_WINDOW}", _scored(backward=True), certain=_even,
    ),
    EngineRule(
        ("flash_attn::_flash_attn_varlen_backward", "flashattn::_flash_attn_varlen_backward"),
        f"{_BACKWARD} =dq =dk =dv cu_q cu_k _longest_q _longest {_WINDOW}", _scored(backward=True), certain=_even,
    ),
    EngineRule(
        ("sgl_kernel::fwd", "_vllm_fa3_C::fwd", "flash_attn_3::fwd", "flash_attn_3::_flash_attn_forward"),
        _FLASH3, _any_flops, _any_moved, _even,
    ),
    EngineRule(
        ("flash_attn_3::bwd",),
        f"{_BACKWARD} =dq =dk =dv cu_q? cu_k? used_q? used_k? _longest_q? _longest? _scale? _causal? _left? _right?",
        _scored(backward=True), certain=_even,
    ),
    EngineRule(
        ("flash_attn_3::_flash_attn_backward",),
        f"{_BACKWARD} cu_q? cu_k? used_q? used_k? _longest_q? _longest? =dq =dk =dv _scale? _causal? _left? _right?",
        _scored(backward=True), certain=_even,
    ),
    EngineRule(
        ("xformers_flash::flash_fwd",),
        "query -key -value cu_q? cu_k? used_k? _longest_q _longest _dropout? _scale? _causal? _left? _right? _return?"
        " table?",
        _any_flops, _any_moved, _even,
    ),
    EngineRule(
        ("_vllm_fa2_C::varlen_fwd",),
        "query -key -value =out? cu_q cu_k used_k? left_pad? table? slopes? _longest_q _longest _dropout? _scale?"
        " _zero? _causal? _left? _right?",
        _any_flops, _any_moved, _even,
    ),
    EngineRule(
        ("_C::paged_attention_v1", "_rocm_C::paged_attention_v1"), f"=out query {_PAGED_TAIL}",
        _paged_flops, _paged_moved, never,
    ),
    EngineRule(
        ("_C::paged_attention_v2",), f"=out =sums =maxima =parts query {_PAGED_TAIL}",
        _paged_flops, _paged_moved, never,
    ),
    # neither the cache nor lengths are recorded, so the price covers only the tokens of the step
    EngineRule(
        ("vllm::unified_attention_with_output",), "query key value =out _layer? scale? block_scale?",
        unknown_flops, certain=never,
    ),
    EngineRule(
        ("aiter::paged_attention_ragged",), "=out -workspace query -key -value", unknown_flops, certain=never
    ),
    EngineRule(("vllm::unified_attention",), "query key value _layer?", unknown_flops, _like_query, never),
    EngineRule(
        ("vllm::unified_mla_attention_with_output",), "query latent rotated =out _layer?", unknown_flops, certain=never
    ),
    # the wrapper of an autograd function: its arguments that are None leave no mark, so the mask is not known
    EngineRule(("FlashAttnFunc",), "query key value", unknown_flops, _result, never),
    # two states weighted and added: 3 an element of the result
    EngineRule(
        ("sgl_kernel::merge_state", "sgl_kernel::merge_state_v2"), "first lse second lse_2 =merged =merged_lse",
        each("merged", 3),
    ),
    EngineRule(
        ("_C::merge_attn_states",), "=merged =merged_lse? first lse second lse_2", each("merged", 3)
    ),
)  # fmt: skip
