"""Quantization: scaling is 1 operation an element; the search for the largest element is comparison, and free.

A kernel that searches first and scales later may read its input twice; one read is compulsory.
"""

from __future__ import annotations

from ridgeline.analyze.pricing.rules.rule import EngineRule, Rule, contiguous, each
from ridgeline.analyze.pricing.signature import Tensor

RULES = (
    # the meta device has no quantized types, which take a byte
    Rule(
        ("quantize_per_tensor", "quantize_per_channel"), lambda bound, outputs: outputs[0].elements,
        otherwise=lambda bound: [contiguous(bound.needed("self").shape, Tensor((), (), "int8", 1))],
    ),
    Rule(("fake_quantize_per_tensor_affine",), lambda bound, outputs: outputs[0].elements),
)  # fmt: skip

# a static scale is read, a dynamic one written; further operands, such as a bound or a zero point, are read
ENGINE_RULES = (
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
    # of the static and of the dynamic scale alike one number moves
    EngineRule(("sgl_kernel::sgl_per_tensor_quant_fp8",), "input =result scale", each("input", 1)),
    EngineRule(("_C_cache_ops::convert_fp8",), "=result input", each("input", 1)),
)  # fmt: skip
