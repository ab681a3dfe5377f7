"""Kernels that Inductor generated: which of their arguments move how often."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ridgeline.analyze.pricing.cost import Price
from ridgeline.analyze.pricing.price import price
from ridgeline.analyze.pricing.signature import parse
from tests.analyze.pricing.test_price import BF16, FP32, INT64, priced

CASES: list[tuple[str, list[Any], tuple[int, int]]] = [
    # the last tensor is the output
    ("triton_poi_fused_add_cos_sin_0", [([10, 10], FP32)] * 3 + ["100"], (800, 400)),
    ("triton_red_fused_mean_0", [([8, 32], BF16), ([32], BF16), ([8, 32], BF16), "8", "32"], (512 + 64, 512)),
    ("triton_red_fused_sum_0", [([8, 32], BF16), ([8], FP32), "8", "32"], (512, 32)),
    # a bias cannot be the output of a loop over 256: the first is updated in place
    ("triton_poi_fused_addmm_relu_0", [([8, 32], BF16), ([32], BF16), "256"], (512 + 64, 512)),
    # a product's flat result is read last, and the first tensor is overwritten
    ("triton_poi_fused__unsafe_view_mul_silu_2", [([2, 4, 32], BF16), ([8, 32], BF16), "256"], (1024, 512)),
    # the same shapes without a view of one operand, and a transposition, are written anew
    ("triton_poi_fused_silu_2", [([2, 4, 32], BF16), ([8, 32], BF16), "256"], (512, 512)),
    ("triton_poi_fused_clone_view_0", [([2, 4, 32], BF16), ([4, 2, 32], BF16), "256"], (512, 512)),
    # one tensor: updated in place, or made from nothing
    ("triton_poi_fused_relu_0", [([8, 32], BF16), "256"], (512, 512)),
    ("triton_poi_fused_zeros_0", [([8, 32], BF16), "256"], (0, 512)),
    # of a table as many elements as the loop has
    ("triton_poi_fused_embedding_0", [([8], INT64), ([1000, 32], BF16), ([8, 32], BF16), "256"], (64 + 512, 512)),
    # loops of two and three dimensions
    ("triton_poi_fused_clone_0", [([8, 32], BF16), ([32, 8], BF16), "8", "32"], (512, 512)),
    ("triton_red_fused_sum_view_0", [([8, 64, 16], BF16), ([8, 16, 4], FP32), "8", "64", "16"], (16384, 2048)),
    # the backward pass of an activation needs the gradient and the saved input
    ("triton_poi_fused_silu_backward_0", [([8, 32], BF16), ([8, 32], BF16), "256"], (1024, 512)),
    ("triton_poi_fused_slice_backward_0", [([8, 32], BF16), ([8, 32], BF16), "256"], (512, 512)),
    # one operator of two operands, two inputs; a type that a sum does not have; a broadcast weight
    ("triton_poi_fused_add_0", [([8, 32], BF16)] * 3 + ["256"], (1024, 512)),
    ("triton_poi_fused__to_copy_add_0", [([8, 32], FP32), ([8, 32], BF16), "256"], (1024, 512)),
    (
        "triton_per_fused_add_mean_mul_pow_rsqrt_0",
        [([8, 32], BF16), ([32], BF16), ([8, 32], BF16), "8", "32"],
        (576, 512),
    ),
]


@pytest.mark.parametrize(("name", "inputs", "expected"), CASES, ids=[case[0] for case in CASES])
def test_bytes_by_hand(name: str, inputs: list[Any], expected: tuple[float | None, float | None]) -> None:
    found = priced(name, inputs)
    assert (found.read_bytes, found.write_bytes) == expected
    assert (found.flops, found.method, found.confidence) == (None, "rule", "high")


@pytest.mark.parametrize(
    ("name", "tensors", "moved"),
    [
        # the sum of both in the first, or of the first and a constant; a · b + c in a, or a · (a + b)
        ("triton_poi_fused_add_0", 2, (512, 512)),
        ("triton_poi_fused_add_mul_0", 3, (1024, 512)),
        # of a list nobody says which tensors are written
        ("triton_for_fused_0", 4, (1536, 512)),
    ],
)
def test_alike_tensors_that_the_operators_could_all_read(name: str, tensors: int, moved: tuple[int, int]) -> None:
    found = priced(name, [([8, 32], BF16)] * tensors + ["256"])
    assert (found.read_bytes, found.write_bytes, found.confidence) == (*moved, "low")


def test_products_of_templates_are_counted() -> None:
    found = priced("triton_tem_fused_addmm_0", [([8], BF16), ([4, 16], BF16), ([16, 8], BF16), ([4, 8], BF16)])
    assert (found.flops, found.read_bytes, found.write_bytes) == (2 * 4 * 8 * 16, 2 * (8 + 64 + 128), 64)
    attention = priced("triton_tem_fused_flex_attention_0", [([1, 4, 8, 16], BF16)] * 4)
    assert (attention.flops, attention.confidence) == (None, "low")


def annotated(measures: Any) -> Price:
    texts: list[list[Any]] = [[[8, 32], [8, 32]], [BF16, BF16], [], ["", "", measures]]
    dims, types, strides, concrete = (json.dumps(text).encode() for text in texts)
    return price(parse(("triton_tem_fused_flex_attention_0", dims, types, strides, concrete)))


def test_inductors_own_numbers_come_first() -> None:
    found = annotated({"kernel_num_gb": 0.001, "kernel_flop": 77})
    assert (found.flops, found.read_bytes, found.write_bytes, found.confidence) == (77, 1_000_000, 0, "high")
    damaged = annotated({"kernel_num_gb": -1, "kernel_flop": "many"})
    assert (damaged.flops, damaged.read_bytes, damaged.write_bytes) == (None, 512, 512)


def test_without_operands_there_is_no_price() -> None:
    assert priced("triton_poi_fused_add_0", [])[:3] == (None, None, None)
