"""Operators that touch no data: they allocate, or alias without saying so in their schema."""

from __future__ import annotations

from ridgeline.analyze.pricing.rules.rule import Rule, no_flops

RULES = (
    Rule(
        (
            "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided",
            "resize", "_unsafe_view", "_reshape_alias", "set", "_fused_sdp_choice", "is_same_size",
        ),
        no_flops,
        outputs=lambda bound: [],
        bytes=lambda bound, outputs: (0, 0),
    ),
)  # fmt: skip
