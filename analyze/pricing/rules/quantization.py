"""Quantization: an element is scaled, 1 operation; looking for the largest to scale by is comparison, and free.

A kernel that looks first and scales later may read its input twice; compulsory is once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ridgeline.analyze.pricing.rules.rule import EngineRule, Rule, contiguous, each
from ridgeline.analyze.pricing.signature import Arguments, Tensor

if TYPE_CHECKING:
    from ridgeline.analyze.pricing.meta import Bound


def _one_each(bound: Bound, outputs: list[Tensor]) -> int:
    return outputs[0].elements


def _in_bytes(bound: Bound) -> Tensor:
    return contiguous(bound.needed("self").shape, Tensor((), (), "int8", 1))


RULES = (
    # the meta device has no quantized types, which take a byte
    Rule(("quantize_per_tensor", "quantize_per_channel"), _one_each, otherwise=lambda bound: [_in_bytes(bound)]),
    Rule(("fake_quantize_per_tensor_affine",), _one_each),
)


def _scaled(call: Arguments) -> int:
    return call.needed("input").elements


ENGINE_RULES = (
    EngineRule(("_C::static_scaled_fp8_quant", "_C::static_scaled_int8_quant"), "=result input scale zero?", _scaled),
    EngineRule(("_C::dynamic_scaled_fp8_quant",), "=result input =scale", _scaled),
    EngineRule(("_C::dynamic_per_token_scaled_fp8_quant",), "=result input =scale bound?", _scaled),
    EngineRule(("_C::dynamic_scaled_int8_quant",), "=result input =scale =zero?", _scaled),
    EngineRule(("_C::scaled_fp4_quant", "sgl_kernel::scaled_fp4_quant"), "=result input =scale global_scale", _scaled),
    EngineRule(
        (
            "_C::per_token_group_fp8_quant", "_C::per_token_group_quant_int8",
            "sgl_kernel::sgl_per_token_group_quant_fp8", "sgl_kernel::sgl_per_token_group_quant_int8",
            "sgl_kernel::sgl_per_token_group_quant_8bit", "sgl_kernel::sgl_per_token_quant_fp8",
        ),
        "input =result =scale",
        _scaled,
    ),
    # a scale that is known beforehand is read, another is written: it is one number
    EngineRule(("sgl_kernel::sgl_per_tensor_quant_fp8",), "input =result scale", _scaled),
    EngineRule(("_C_cache_ops::convert_fp8",), "=result input", each("input", 1)),
)  # fmt: skip
