"""Quantization: scaling is 1 operation an element; the search for the largest element is comparison, and free.

A kernel that searches first and scales later may read its input twice; one read is compulsory.
"""

from __future__ import annotations

from ridgeline.analyze.pricing.rules.rule import Rule, contiguous
from ridgeline.analyze.pricing.signature import Tensor

RULES = (
    # the meta device has no quantized types, which take a byte
    Rule(
        ("quantize_per_tensor", "quantize_per_channel"), lambda bound, outputs: outputs[0].elements,
        otherwise=lambda bound: [contiguous(bound.needed("self").shape, Tensor((), (), "int8", 1))],
    ),
    Rule(("fake_quantize_per_tensor_affine",), lambda bound, outputs: outputs[0].elements),
)  # fmt: skip
