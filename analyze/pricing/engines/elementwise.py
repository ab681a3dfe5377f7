"""Normalization, rotary embedding, activation, sampling and quantization in engines, by the operations of an element.

- A norm with a weight takes 4, without a mean to subtract; the addition before it 1, scaling to a quantized type 1.
- Every rotated element is two products and a sum: 3. Of the table of cosines and sines the rows of the positions are
  read, at most all. Of partly rotated heads only the rotated part counts.
- Activations multiply one half of their input by the activated other: an element of the result takes the operations of
  the activation and one for the product.
- Quantization scales: 1; the search for the largest element is comparison, and free. A kernel that searches first and
  scales later may read its input twice; one read is compulsory. So it is for sampling.
"""

from __future__ import annotations

from ridgeline.analyze.pricing.rules.rule import EngineBytes, EngineRule, each, never, no_flops
from ridgeline.analyze.pricing.signature import Arguments


def _rotated(call: Arguments, name: str) -> int:
    """Elements that are rotated: of every head as many as the table is wide."""
    tensor = call.tensor(name)
    if tensor is None:
        return 0
    width, head = call.needed("table").shape[-1], call.number("head") or tensor.shape[-1]
    return tensor.elements * min(width, head) // max(head, 1)


def _rows(call: Arguments) -> int:
    table = call.needed("table")
    return min(call.needed("positions").elements * table.shape[-1] * table.item_bytes, table.distinct_bytes)


def _rotation(call: Arguments) -> int:
    return 3 * sum(_rotated(call, name) for name in ("query", "key"))


def _turned_bytes(call: Arguments) -> int:
    return sum(_rotated(call, name) * call.needed(name).item_bytes for name in ("query", "key") if call.tensor(name))


def _returned(name: str) -> EngineBytes:
    """A result of the size of an argument."""
    return lambda call: (0, call.needed(name).distinct_bytes)


def _normed_heads(call: Arguments) -> int:
    """Elements of the heads of queries and keys, which are normed and rotated; those of the values stay."""
    heads = [call.number(name) or 0 for name in ("heads", "key_heads", "value_heads")]
    return call.needed("joined").elements * sum(heads[:2]) // max(sum(heads), 1)


def _normed_heads_bytes(call: Arguments) -> tuple[int, int]:
    moved = _normed_heads(call) * call.needed("joined").item_bytes
    return moved + _rows(call), moved


def _quantized(item_bytes: float, group: str | None = None) -> EngineBytes:
    """A result of ``item_bytes`` for each element of the input, and an fp32 scale for each group of ``group``."""

    def moved(call: Arguments) -> tuple[int, int]:
        elements = call.needed("input").elements
        size = (call.number(group) if group else None) or call.needed("input").shape[-1]
        return 0, round(elements * item_bytes) + 4 * (elements // max(size, 1))

    return moved


def _drawn(call: Arguments) -> tuple[int, int]:
    """A 32-bit number for each row of probabilities."""
    return 0, 4 * call.needed("input").elements // max(call.needed("input").shape[-1], 1)


_NORMS = (
    EngineRule(
        (
            "_C::rms_norm", "sgl_kernel::rmsnorm", "sgl_kernel::gemma_rmsnorm", "flashinfer::rmsnorm",
            "flashinfer::gemma_rmsnorm", "aiter::rmsnorm", "aiter::rms_norm_cu",
        ),
        "=result input weight", each("input", 4),
    ),
    EngineRule(
        (
            "_C::fused_add_rms_norm", "sgl_kernel::fused_add_rmsnorm", "sgl_kernel::gemma_fused_add_rmsnorm",
            "flashinfer::fused_add_rmsnorm", "flashinfer::gemma_fused_add_rmsnorm",
        ),
        "+input +residual weight", each("input", 5),
    ),
    EngineRule(
        ("aiter::add_rmsnorm", "aiter::rmsnorm2d_fwd_with_add"), "=result input residual =sum weight", each("input", 5)
    ),
    EngineRule(
        ("aiter::rmsnorm2d_fwd", "aiter::rms_norm", "vllm::rocm_aiter_rms_norm"),
        "input weight", each("input", 4), _returned("input"),
    ),
    EngineRule(("aiter::layernorm2d_fwd",), "input weight bias", each("input", 8), _returned("input")),
    EngineRule(("_C::rms_norm_static_fp8_quant",), "=result input weight scale", each("input", 5)),
    EngineRule(("_C::fused_add_rms_norm_static_fp8_quant",), "=result input +residual weight scale", each("input", 6)),
    EngineRule(
        ("_C::rms_norm_dynamic_per_token_quant", "_C::rms_norm_per_block_quant"),
        "=result input weight =scale _epsilon bound? +residual?",
        lambda call: call.needed("input").elements * (6 if call.tensor("residual") else 5),
    ),
    EngineRule(
        ("_C::fused_qk_norm_rope",),
        "-joined _heads _key_heads _value_heads _head _epsilon weight key_weight -table _neox positions",
        lambda call: 7 * _normed_heads(call), _normed_heads_bytes,
    ),
    # the wrappers of autograd functions; what the backward pass keeps of each row is left out
    EngineRule(("LigerRMSNormFunction",), "input weight", each("input", 4), _returned("input")),
    EngineRule(
        ("LigerLayerNormFunction", "FusedLayerNormAffineFunction"),
        "input weight bias", each("input", 8), _returned("input"),
    ),
    EngineRule(("FusedRMSNormAffineFunction",), "input weight", each("input", 4), _returned("input")),
)  # fmt: skip

_ROTATIONS = (
    EngineRule(
        ("_C::rotary_embedding", "sgl_kernel::rotary_embedding"), "positions -query -key? _head -table",
        _rotation,
        # queries and keys are read and written in place
        lambda call: (_turned_bytes(call) + _rows(call), _turned_bytes(call)),
    ),
    EngineRule(
        ("sgl_kernel::apply_rope_pos_ids_cos_sin_cache", "flashinfer::apply_rope_pos_ids_cos_sin_cache"),
        "query key =turned_query =turned_key -table positions",
        _rotation, lambda call: (_rows(call), 0),
    ),
    EngineRule(
        ("_C::apply_vision_rotary_2c",), "=turned_query =turned_key query key cosine sine",
        lambda call: 3 * (call.needed("query").elements + call.needed("key").elements),
    ),
    EngineRule(
        ("LigerRopeFunction",), "+query +key cosine sine",
        lambda call: 3 * (call.needed("query").elements + call.needed("key").elements),
    ),
)  # fmt: skip

_ACTIVATIONS = (
    # x / (1 + exp(-x)): 4; and the product. An approximate gelu without a product: 5
    EngineRule(
        (
            "_C::silu_and_mul", "_C::mul_and_silu", "sgl_kernel::silu_and_mul", "flashinfer::silu_and_mul",
            "aiter::silu_and_mul", "_C::gelu_new", "_C::gelu_fast", "_C::gelu_quick",
        ),
        "=result input", each("result", 5),
    ),
    # x/2 · (1 + erf(x/√2)): 5; and the product
    EngineRule(
        (
            "_C::gelu_and_mul", "_C::gelu_tanh_and_mul", "_C::swigluoai_and_mul",
            "sgl_kernel::gelu_and_mul", "sgl_kernel::gelu_tanh_and_mul", "flashinfer::gelu_and_mul",
            "flashinfer::gelu_tanh_and_mul", "aiter::gelu_and_mul", "aiter::gelu_tanh_and_mul",
        ),
        "=result input", each("result", 6),
    ),
    # the threshold is a comparison
    EngineRule(("_C::fatrelu_and_mul",), "=result input", each("result", 1)),
    # and scaled to a quantized type
    EngineRule(("_C::silu_and_mul_quant",), "=result input scale", each("result", 6)),
    EngineRule(("_C::silu_and_mul_nvfp4_quant",), "=result =block_scale input scale", each("input", 3)),
    EngineRule(("_C::silu_and_mul_per_block_quant",), "=result input =scale", each("result", 6)),
    EngineRule(("LigerSiLUMulFunction",), "gate up", each("gate", 5), _returned("gate")),
    EngineRule(("LigerGELUMulFunction",), "gate up", each("gate", 6), _returned("gate")),
)  # fmt: skip

_SAMPLING = (
    # penalties divide or multiply the scores of the tokens so far
    EngineRule(
        ("_C::apply_repetition_penalties_",), "+scores prompt output penalties", each("scores", 1), certain=never
    ),
    EngineRule(
        (
            "flashinfer::sampling_from_probs", "flashinfer::top_p_sampling_from_probs",
            "flashinfer::top_k_sampling_from_probs", "flashinfer::min_p_sampling_from_probs",
            "flashinfer::top_k_top_p_sampling_from_probs",
        ),
        "input", no_flops, _drawn,
    ),
    EngineRule(
        (
            "sgl_kernel::top_p_sampling_from_probs", "sgl_kernel::min_p_sampling_from_probs",
            "sgl_kernel::top_k_top_p_sampling_from_probs",
        ),
        "input =drawn", no_flops,
    ),
    EngineRule(
        ("flashinfer::top_p_renorm_probs", "flashinfer::top_k_renorm_probs"), "input", each("input", 2),
        _returned("input"),
    ),
    EngineRule(
        ("sgl_kernel::top_p_renorm_probs", "sgl_kernel::top_k_renorm_probs"), "input =result", each("input", 2)
    ),
    EngineRule(("flashinfer::top_k_mask_logits",), "input", no_flops, _returned("input")),
    EngineRule(("flashinfer::softmax",), "-workspace? input", each("input", 4), _returned("input")),
)  # fmt: skip

# A static scale is read, a dynamic one written; further operands, such as a bound or a zero point, are read.
_QUANTIZATION = (
    EngineRule(
        ("_C::static_scaled_fp8_quant", "_C::static_scaled_int8_quant"), "=result input scale", each("input", 1)
    ),
    EngineRule(
        ("_C::dynamic_scaled_fp8_quant", "_C::dynamic_per_token_scaled_fp8_quant"), "=result input =scale",
        each("input", 1),
    ),
    EngineRule(("_C::dynamic_scaled_int8_quant",), "=result input =scale =zero?", each("input", 1)),
    EngineRule(
        ("_C::scaled_fp4_quant", "sgl_kernel::scaled_fp4_quant"), "=result input =scale global_scale", each("input", 1)
    ),
    EngineRule(
        (
            "_C::per_token_group_fp8_quant", "_C::per_token_group_quant_int8",
            "sgl_kernel::sgl_per_token_group_quant_fp8", "sgl_kernel::sgl_per_token_group_quant_int8",
            "sgl_kernel::sgl_per_token_group_quant_8bit", "sgl_kernel::sgl_per_token_quant_fp8",
        ),
        "input =result =scale", each("input", 1),
    ),
    # one number moves, of a static scale as of a dynamic one
    EngineRule(("sgl_kernel::sgl_per_tensor_quant_fp8",), "input =result scale", each("input", 1)),
    EngineRule(("_C_cache_ops::convert_fp8",), "=result input", each("input", 1)),
    EngineRule(("aiter::static_per_tensor_quant",), "=result input scale", each("input", 1)),
    EngineRule(
        ("aiter::dynamic_per_token_scaled_quant", "aiter::dynamic_per_tensor_quant"), "=result input =scale",
        each("input", 1),
    ),
    EngineRule(
        ("fbgemm::quantize_fp8_per_row", "triton::quantize_fp8_row"), "input", each("input", 1), _quantized(1)
    ),
    EngineRule(
        ("bitsandbytes::quantize_blockwise",), "input code _size", each("input", 1), _quantized(1, "size")
    ),
    EngineRule(("bitsandbytes::quantize_4bit",), "input _size", each("input", 1), _quantized(0.5, "size")),
    EngineRule(
        ("bitsandbytes::dequantize_4bit",), "input scale", lambda call: 2 * call.needed("input").elements,
        lambda call: (0, 4 * call.needed("input").elements),
    ),
    EngineRule(
        ("bitsandbytes::dequantize_blockwise",), "input scale code", each("input", 1),
        lambda call: (0, 2 * call.needed("input").elements), never,
    ),
    EngineRule(
        ("bitsandbytes::int8_vectorwise_quant",), "input", each("input", 1), _quantized(1)
    ),
    EngineRule(
        ("_C::awq_dequantize", "sgl_kernel::awq_dequantize"), "weights scale zero",
        lambda call: 2 * 8 * call.needed("weights").elements,
        lambda call: (0, 8 * call.needed("weights").elements * call.needed("scale").item_bytes),
    ),
)  # fmt: skip

RULES = (*_NORMS, *_ROTATIONS, *_ACTIVATIONS, *_SAMPLING, *_QUANTIZATION)
