"""Mixtures of experts: routing, and the products of every token with the matrices of its own experts.

A token's two products with each of its k experts take 2·k·(H·2I + I·H), by the matrices' shapes. The number of experts
that get a token is not recorded. The price takes the number that even routing of k·T choices among E experts reaches:
all of them to within 1 % from k·T = 5·E on. Below that the price has low confidence.
"""

from __future__ import annotations

import math

from ridgeline.analyze.pricing.rules.matmul import packed, reached
from ridgeline.analyze.pricing.rules.rule import EngineRule, each, never, no_flops, unknown_flops
from ridgeline.analyze.pricing.signature import Arguments, total_bytes


def _reached(call: Arguments) -> tuple[int, int]:
    """The matrices of the experts that even routing reaches are read; the result, in place or not, is written once."""
    hidden, experts, choices = call.needed("hidden"), call.needed("first").shape[0], call.needed("chosen").elements
    matrices = total_bytes(call.tensors("first", "second"))
    return round(matrices * reached(choices, experts)), hidden.distinct_bytes


def _grouped_flops(call: Arguments) -> int:
    """Every row of the input times the matrix of its expert, with operands of fp4 two numbers in a byte."""
    rows = call.needed("a")
    return 2 * call.needed("result").elements * rows.shape[-1] * packed(rows)


def _grouped_moved(call: Arguments) -> tuple[int, int]:
    """The matrices of the experts that even routing of the rows reaches are read."""
    matrices, rows = call.needed("b"), call.needed("a").shape[0]
    return round(matrices.distinct_bytes * reached(rows, matrices.shape[0])), 0


def _reaches_all(call: Arguments) -> bool:
    return call.needed("a").shape[0] >= 5 * call.needed("b").shape[0]


RULES = (
    EngineRule(
        (
            "vllm::outplace_fused_experts", "vllm::inplace_fused_experts",
            "sglang::outplace_fused_experts", "sglang::inplace_fused_experts",
        ),
        "hidden -first -second weights chosen",
        lambda call: 2
        * call.needed("chosen").elements
        * sum(math.prod(call.needed(name).shape[1:]) for name in ("first", "second")),
        _reached,
        lambda call: call.needed("chosen").elements >= 5 * call.needed("first").shape[0],
    ),
    # neither the experts' matrices nor how many a token has are recorded
    EngineRule(
        ("vllm::moe_forward", "vllm::moe_forward_shared"), "hidden router",
        unknown_flops, lambda call: (0, call.needed("hidden").distinct_bytes), never,
    ),
    # softmax of the router's scores, the largest are chosen
    EngineRule(("_moe_C::topk_softmax",), "=weights =chosen =rows scores", each("scores", 4)),
    EngineRule(("sgl_kernel::topk_softmax",), "=weights =chosen scores", each("scores", 4)),
    EngineRule(
        ("_moe_C::moe_align_block_size", "sgl_kernel::moe_align_block_size"),
        "chosen _experts _block =sorted =owners =padded =sums?", no_flops,
    ),
    EngineRule(("_moe_C::moe_sum",), "input =result", each("input", 1)),
    # of the experts' matrices one for each output; a group's rows follow one another, and their number is not recorded
    EngineRule(
        ("_C::cutlass_moe_mm", "sgl_kernel::cutlass_fp4_group_mm", "sgl_kernel::cutlass_w4a8_moe_mm"), "=result a -b",
        _grouped_flops, _grouped_moved, _reaches_all,
    ),
    EngineRule(
        ("sgl_kernel::fp8_blockwise_scaled_grouped_mm",),
        "=result -a_places -b_places -places -scale_a_places -scale_b_places a -b", _grouped_flops, _grouped_moved,
        _reaches_all,
    ),
    # a sigmoid and a bias for each score, and the chosen weights and numbers
    EngineRule(
        ("sgl_kernel::moe_fused_gate",), "scores bias _groups _chosen_groups _k", each("scores", 5),
        lambda call: (0, 8 * (call.number("k") or 0) * call.needed("scores").shape[0]),
    ),
    EngineRule(
        ("_moe_C::grouped_topk",), "scores _groups _chosen_groups _k", each("scores", 1),
        lambda call: (0, 8 * (call.number("k") or 0) * call.needed("scores").shape[0]),
    ),
    EngineRule(("_moe_C::topk_sigmoid",), "=weights =chosen =rows scores", each("scores", 4)),
    # a row of the input for each of the result
    EngineRule(
        ("sgl_kernel::shuffle_rows", "_moe_C::shuffle_rows"), "-input map =result", no_flops,
        lambda call: (min(call.needed("input").distinct_bytes, call.needed("result").distinct_bytes), 0),
    ),
    EngineRule(
        ("sgl_kernel::apply_shuffle_mul_sum",), "input =result map factors?",
        lambda call: call.needed("input").elements * (2 if call.tensor("factors") else 1),
    ),
)  # fmt: skip
