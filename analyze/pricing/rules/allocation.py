"""Operators that touch no data: they allocate, or alias without saying so in their schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ridgeline.analyze.pricing.rules.rule import Rule, no_flops
from ridgeline.analyze.pricing.signature import Tensor

if TYPE_CHECKING:
    from ridgeline.analyze.pricing.meta import Bound


def _nothing(bound: Bound, outputs: list[Tensor]) -> tuple[int, int]:
    return 0, 0


RULES = (
    Rule(
        (
            "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided",
            "resize", "_unsafe_view", "_reshape_alias", "set", "_fused_sdp_choice", "is_same_size",
        ),
        no_flops,
        outputs=lambda bound: [],
        bytes=_nothing,
    ),
)  # fmt: skip
