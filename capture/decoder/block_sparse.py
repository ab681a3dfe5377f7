"""Block-sparse attention by FlexAttention, whose kernels skip the blocks that nothing in a mask sees.

The mask is made of blocks from the start: a matrix of all pairs would take more memory than the attention it saves.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from ridgeline.capture.decoder.sparsity import BLOCK, reach


def block_mask(length: int, window: int, device: torch.device) -> BlockMask:
    """The mask of `length` positions, for any batch and heads: keys up to `window` away, and the first BLOCK."""

    def seen(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        del batch, head
        return ((query - key).abs() <= window) | (key < BLOCK)

    blocks = torch.arange(-(-length // BLOCK), device=device)
    apart = (blocks[:, None] - blocks[None]).abs()
    sink = (blocks == 0).expand_as(apart)
    kept = (apart <= reach(window)) | sink
    # Of a block that reaches beyond the sequence, what is inside has to be told pair by pair.
    inside = (blocks + 1) * BLOCK <= length
    full = ((apart * BLOCK + BLOCK - 1 <= window) | sink) & inside[:, None] & inside[None]
    return BlockMask.from_kv_blocks(
        *_listed(kept & ~full), *_listed(full), BLOCK_SIZE=BLOCK, mask_mod=seen, seq_lengths=(length, length)
    )


def attend(query: Tensor, key: Tensor, value: Tensor, mask: BlockMask, *, grouped: bool) -> Tensor:
    """Attention of `[batch, heads, query, head_dim]` over what the mask sees; `grouped` where there are fewer keys.

    FlexAttention makes no matrix of scores where it is compiled alone, so that it is even where nothing else is.
    """
    if value.device.type == "cpu":  # Inductor's kernel for CPUs forgets where a part of a tensor begins.
        value = value.contiguous()
    function: Any = flex_attention if torch.compiler.is_compiling() else _compiled()
    seen: Tensor = function(query, key, value, block_mask=mask, enable_gqa=grouped)
    return seen


@cache
def _compiled() -> Any:
    """FlexAttention by itself, compiled for each length: as a whole, since what is not would be slow and vast."""
    return torch.compile(flex_attention, fullgraph=True, dynamic=False)


def _listed(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """How many blocks each row of `[rows, columns]` has, and which, these first: for any batch and heads."""
    order = blocks.int().argsort(dim=-1, descending=True, stable=True)
    return blocks.sum(-1, dtype=torch.int32)[None, None], order.int()[None, None]
