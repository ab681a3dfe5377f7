"""Attention over the projections of transformers' layers; a `View` decides what each forward caches and sees.

The library's own attention decides masks and caches layer by layer, and differently in each version. Here one View per
forward passes through all layers and says which keys and values a layer sees, so that a decoding mode is defined by the
View it uses. Without a mask nothing is materialized, and a fused kernel can serve every mode.
"""

from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import BlockMask
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from ridgeline.capture.decoder import block_sparse
from ridgeline.capture.decoder.quantization import linear

BACKENDS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "math": SDPBackend.MATH,
}
Rotary = tuple[Tensor, Tensor]
"""Cosines and sines of the positions of a forward, each `[1, query, head_dim]`."""


class View:
    """The keys and values that a forward's queries see: those of the same forward, unless a subclass caches more.

    With `causal` a query sees no later position. `mask` is `[query, context]`, true where a query sees a key, or a
    block mask of that shape; None hides nothing.
    """

    def __init__(self, *, causal: bool = False, mask: Tensor | BlockMask | None = None) -> None:
        self.causal, self.mask = causal, mask

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, rotary: Rotary, layer: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries, and the keys and values they see, from projections `[batch, heads, query, head_dim]`."""
        del layer
        query, key = apply_rotary_pos_emb(query, key, *rotary)
        return query, key, value


class Attention(nn.Module):
    """A layer's attention in place of the library's, with the library's projections under their own names.

    `fused` computes the three input projections as one matrix product. The three weights become views of the joined
    weight, so there is no second copy.
    """

    def __init__(self, projections: Any, *, layer: int, heads: int, kv_heads: int, head_dim: int, fused: bool) -> None:
        super().__init__()
        self.backend = "auto"
        self.q_proj, self.k_proj, self.v_proj = projections.q_proj, projections.k_proj, projections.v_proj
        self.o_proj = projections.o_proj
        # Qwen3 normalizes every head of queries and of keys.
        self.q_norm, self.k_norm = getattr(projections, "q_norm", None), getattr(projections, "k_norm", None)
        self._layer, self._head_dim = layer, head_dim
        self._widths = [heads * head_dim, kv_heads * head_dim, kv_heads * head_dim]
        self._groups = heads // kv_heads
        self._qkv = join(self.q_proj, self.k_proj, self.v_proj) if fused else None

    def forward(self, hidden_states: Tensor, position_embeddings: Rotary, view: View, **_: Any) -> tuple[Tensor, None]:
        """Attention's output `[batch, query, hidden]`."""
        batch, length, _hidden = hidden_states.shape
        if self._qkv is None:
            parts = tuple(layer(hidden_states) for layer in (self.q_proj, self.k_proj, self.v_proj))
        else:
            parts = torch.split(linear(hidden_states, *self._qkv), self._widths, -1)
        heads = [part.view(batch, length, -1, self._head_dim) for part in parts]
        if self.q_norm is not None and self.k_norm is not None:
            heads[:2] = self.q_norm(heads[0]), self.k_norm(heads[1])
        query, key, value = (part.transpose(1, 2) for part in heads)
        query, key, value = view.attend(query, key, value, position_embeddings, self._layer)
        grouped = self._groups > 1
        if isinstance(view.mask, BlockMask):
            attended = block_sparse.attend(query, key, value, view.mask, grouped=grouped)
        else:
            if grouped and self.backend == "efficient":  # this backend has no grouped queries
                key, value = (part.repeat_interleave(self._groups, 1) for part in (key, value))
                grouped = False
            # The choice must be inside the compiled code: compilers cache without looking at the allowed backends.
            with sdpa_kernel(BACKENDS[self.backend]) if self.backend in BACKENDS else nullcontext():
                attended = F.scaled_dot_product_attention(
                    query, key, value, attn_mask=view.mask, is_causal=view.causal, enable_gqa=grouped
                )
        return self.o_proj(attended.transpose(1, 2).reshape(batch, length, -1)), None


class FeedForward(nn.Module):
    """A layer's SwiGLU block with its gate and up projections in one matrix product."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.gate_proj, self.up_proj, self.down_proj = block.gate_proj, block.up_proj, block.down_proj
        self._gate_up = join(self.gate_proj, self.up_proj)

    def forward(self, hidden: Tensor) -> Tensor:
        """`[batch, query, hidden]` in and out."""
        gate, up = linear(hidden, *self._gate_up).chunk(2, -1)
        output: Tensor = self.down_proj(F.silu(gate) * up)
        return output


def materialized(values: Tensor) -> Tensor:
    """A view of `values` that compiled code writes to memory once, instead of recomputing it at every use."""
    return values.as_strided(values.shape, values.stride())


def join(*layers: nn.Module) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Weight, bias and 8-bit scale of one layer that computes the outputs of all `layers`, concatenated.

    The layers' own parameters become views of the joined ones. Bias and scale are None where the layers have none.
    """

    def joined(name: str) -> Tensor | None:
        parts = [part for layer in layers if isinstance(part := getattr(layer, name, None), nn.Parameter)]
        if not parts:
            return None
        rows = [len(part) for part in parts]
        whole = parts[0].data.new_empty((sum(rows), *parts[0].shape[1:]))
        for part, view in zip(parts, torch.split(whole, rows), strict=True):
            view.copy_(part.data)
            part.data = view  # frees the part's own memory
        return whole

    weight = joined("weight")
    assert weight is not None
    return weight, joined("bias"), joined("scale")
