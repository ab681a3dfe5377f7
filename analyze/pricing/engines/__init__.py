"""FLOP and byte rules for operators outside ``aten``: of serving engines, libraries for training, and collectives.

Arguments are those of the operators' own schemas (``TORCH_LIBRARY``, ``torch.library.custom_op``) in vLLM, SGLang,
FlashAttention, FlashInfer, aiter, FBGEMM, bitsandbytes, Liger and torchvision. Conventions are those of PyTorch's
operators. Where a length is only in the data of a tensor (packed sequences, pages of a cache, tokens of an expert), the
price has low confidence.
"""

from __future__ import annotations

from ridgeline.analyze.pricing.engines import (
    attention,
    caches,
    collectives,
    elementwise,
    embeddings,
    experts,
    products,
    vision,
)
from ridgeline.analyze.pricing.outside import named, outside
from ridgeline.analyze.pricing.rules.rule import EngineRule

RULES: dict[str, EngineRule] = {
    name: rule
    for rules in (
        attention.RULES,
        products.RULES,
        experts.RULES,
        elementwise.RULES,
        caches.RULES,
        embeddings.RULES,
        vision.RULES,
        collectives.RULES,
    )
    for rule in rules
    for name in rule.operators
}


def find(operator: str) -> EngineRule | None:
    """The rule for an operator that PyTorch does not know, by its name without overload."""
    rule = outside().rules.get(named(operator))
    return rule if isinstance(rule, EngineRule) else RULES.get(operator.partition(".")[0])
