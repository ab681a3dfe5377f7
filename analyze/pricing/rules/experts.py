"""Mixtures of experts: routing, and the products of every token with the matrices of its own experts.

A token's two products with each of its k experts take 2·k·(H·2I + I·H), by the matrices' shapes. The number of experts
that get a token is not recorded. The price takes the number that even routing of k·T choices among E experts reaches:
all of them to within 1 % from k·T = 5·E on. Below that the price has low confidence.
"""

from __future__ import annotations

import math

from ridgeline.analyze.pricing.rules.rule import EngineRule, each, never, no_flops, unknown_flops
from ridgeline.analyze.pricing.signature import Arguments, total_bytes


def _reached(call: Arguments) -> tuple[int, int]:
    """The matrices of the experts that even routing reaches are read; the result, in place or not, is written once."""
    hidden, experts, choices = call.needed("hidden"), call.needed("first").shape[0], call.needed("chosen").elements
    # the chance that at least one of the choices falls on an expert
    share = 1 - (1 - 1 / experts) ** choices if experts else 0.0
    matrices = total_bytes(call.tensors("first", "second"))
    return round(matrices * share), hidden.distinct_bytes


ENGINE_RULES = (
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
)  # fmt: skip
