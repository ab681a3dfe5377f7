"""Block-sparse attention by FlexAttention, whose kernels skip the blocks in which the mask hides every pair.

The mask is built block by block: a matrix of all pairs would take more memory than the sparse attention saves.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from ridgeline.capture.decoder.sparsity import BLOCK, reach


def block_mask(length: int, window: int, device: torch.device) -> BlockMask:
    """The mask of `length` positions for any batch and heads: keys up to `window` away, and the first BLOCK keys."""

    def visible(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        del batch, head
        return ((query - key).abs() <= window) | (key < BLOCK)

    blocks = torch.arange(-(-length // BLOCK), device=device)
    apart = (blocks[:, None] - blocks[None]).abs()
    # The first block is visible to all queries.
    sink = (blocks == 0).expand_as(apart)
    kept = (apart <= reach(window)) | sink
    # In a full block every pair is visible and the kernel evaluates no mask. A block that extends past the end of
    # the sequence is never full.
    inside = (blocks + 1) * BLOCK <= length
    full = ((apart * BLOCK + BLOCK - 1 <= window) | sink) & inside[:, None] & inside[None]
    return BlockMask.from_kv_blocks(
        *_indices(kept & ~full), *_indices(full), BLOCK_SIZE=BLOCK, mask_mod=visible, seq_lengths=(length, length)
    )


def attend(query: Tensor, key: Tensor, value: Tensor, mask: BlockMask, *, grouped: bool) -> Tensor:
    """Attention of `[batch, heads, query, head_dim]` under `mask`; `grouped` where keys have fewer heads.

    FlexAttention avoids the matrix of scores only when compiled, so in eager code it alone is compiled.
    """
    if value.device.type == "cpu":  # Inductor's CPU kernel ignores the storage offset of a view.
        value = value.contiguous()
    function: Any = flex_attention if torch.compiler.is_compiling() else _compiled()
    attended: Tensor = function(query, key, value, block_mask=mask, enable_gqa=grouped)
    return attended


@cache
def _compiled() -> Any:
    """FlexAttention compiled as a whole, once for each length; a fallback to eager code would be slow and large."""
    return torch.compile(flex_attention, fullgraph=True, dynamic=False)


def _indices(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """Counts `[1, 1, rows]` and column indices `[1, 1, rows, columns]` of the true `blocks` `[rows, columns]`.

    The columns of true blocks come first in each row, in ascending order, as BlockMask expects them.
    """
    order = blocks.int().argsort(dim=-1, descending=True, stable=True)
    return blocks.sum(-1, dtype=torch.int32)[None, None], order.int()[None, None]
