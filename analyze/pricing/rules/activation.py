"""Activations of inference engines that multiply one half of their input by the activated other.

An element of the result takes the operations of the activation and one for the product.
"""

from __future__ import annotations

from ridgeline.analyze.pricing.rules.rule import EngineRule, each

ENGINE_RULES = (
    # x / (1 + exp(-x)): 4; and the product
    EngineRule(
        ("_C::silu_and_mul", "_C::mul_and_silu", "sgl_kernel::silu_and_mul"),
        "=result input",
        each("result", 5),
    ),
    # x/2 · (1 + erf(x/√2)): 5; and the product
    EngineRule(
        (
            "_C::gelu_and_mul", "_C::gelu_tanh_and_mul", "_C::swigluoai_and_mul",
            "sgl_kernel::gelu_and_mul", "sgl_kernel::gelu_tanh_and_mul",
        ),
        "=result input",
        each("result", 6),
    ),
    # the threshold is a comparison
    EngineRule(("_C::fatrelu_and_mul",), "=result input", each("result", 1)),
    EngineRule(("_C::gelu_new", "_C::gelu_fast", "_C::gelu_quick"), "=result input", each("result", 5)),
    # and scaled to a quantized type
    EngineRule(("_C::silu_and_mul_quant",), "=result input scale", each("result", 6)),
    EngineRule(("_C::silu_and_mul_nvfp4_quant",), "=result =block_scale input scale", each("input", 3)),
)  # fmt: skip
