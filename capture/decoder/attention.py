"""Attention over the library's projections: what is rotated, cached and seen is decided by a `View`, once a forward.

The library's own attention decides masks and caches for itself, layer by layer, and differently from version to
version. Here a forward passes one View through all layers: it says what keys and values a layer sees, so that a mode of
decoding is the View it uses. Without a mask nothing is materialised, and a fused kernel can serve every mode.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

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


class View(Protocol):
    """What a forward's queries see.

    `mask` is `[query, context]`, true where a query may look, or such a mask by its blocks; None for everywhere.
    """

    @property
    def causal(self) -> bool:
        """Whether a query sees no position after its own."""

    @property
    def mask(self) -> Tensor | BlockMask | None:
        """What a query sees beside that."""

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, rotary: Rotary, layer: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries, and the keys and values they see, from projections `[batch, heads, query, head_dim]`."""


class Whole:
    """A forward without a cache: the tokens see each other, those before them only if `causal` or as `mask` says."""

    def __init__(self, *, causal: bool = False, mask: Tensor | BlockMask | None = None) -> None:
        self.causal, self.mask = causal, mask

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, rotary: Rotary, layer: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Everything there is, rotated."""
        del layer
        query, key = apply_rotary_pos_emb(query, key, *rotary)
        return query, key, value


class Attention(nn.Module):
    """A layer's attention in place of the library's, holding the library's projections under their own names.

    `fused` makes one matrix product of the three projections, over weights the three keep as views: no second copy.
    """

    def __init__(self, projections: Any, *, layer: int, heads: int, kv_heads: int, head_dim: int, fused: bool) -> None:
        super().__init__()
        self.backend = "auto"
        self.q_proj, self.k_proj, self.v_proj = projections.q_proj, projections.k_proj, projections.v_proj
        self.o_proj = projections.o_proj
        self._layer, self._head_dim = layer, head_dim
        self._widths = [heads * head_dim, kv_heads * head_dim, kv_heads * head_dim]
        self._groups = heads // kv_heads
        self._qkv = join(self.q_proj, self.k_proj, self.v_proj) if fused else None

    def forward(self, hidden_states: Tensor, position_embeddings: Rotary, view: View, **_: Any) -> tuple[Tensor, None]:
        """Attention's output `[batch, query, hidden]`."""
        batch, length, _hidden = hidden_states.shape
        query, key, value = (
            part.view(batch, length, -1, self._head_dim).transpose(1, 2) for part in self._project(hidden_states)
        )
        query, key, value = view.attend(query, key, value, position_embeddings, self._layer)
        seen = self._attention(query, key, value, view)
        return self.o_proj(seen.transpose(1, 2).reshape(batch, length, -1)), None

    def _attention(self, query: Tensor, key: Tensor, value: Tensor, view: View) -> Tensor:
        """Scaled dot products by the chosen backend; the one that knows no groups gets its keys repeated."""
        grouped = self._groups > 1
        if isinstance(view.mask, BlockMask):
            return block_sparse.attend(query, key, value, view.mask, grouped=grouped)
        if grouped and self.backend == "efficient":
            key, value = (part.repeat_interleave(self._groups, 1) for part in (key, value))
            grouped = False
        # The choice is made here, inside what is compiled: compilers cache their work without asking what was allowed.
        with _only(self.backend):
            return F.scaled_dot_product_attention(
                query, key, value, attn_mask=view.mask, is_causal=view.causal, enable_gqa=grouped
            )

    def _project(self, hidden: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values, `[batch, query, width]` each."""
        if self._qkv is None:
            return self.q_proj(hidden), self.k_proj(hidden), self.v_proj(hidden)
        return torch.split(linear(hidden, *self._qkv), self._widths, -1)


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
    """The same values, a view; compiled code keeps them in memory here, and does not compute them anew at every use."""
    return values.as_strided(values.shape, values.stride())


def join(*layers: nn.Module) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Weight, bias and, of 8-bit layers, scale of one layer that does what several do, which become views of it."""
    weight = _joined(layers, "weight")
    assert weight is not None
    return weight, _joined(layers, "bias"), _joined(layers, "scale")


def _joined(layers: Sequence[nn.Module], name: str) -> Tensor | None:
    """The layers' parameters of a name in one storage, first dimension after first dimension; each a view of it."""
    parts = [part for layer in layers if isinstance(part := getattr(layer, name, None), nn.Parameter)]
    if not parts:
        return None
    rows = [len(part) for part in parts]
    whole = parts[0].data.new_empty((sum(rows), *parts[0].shape[1:]))
    for part, view in zip(parts, torch.split(whole, rows), strict=True):
        view.copy_(part.data)
        part.data = view
    return whole


def _only(backend: str) -> AbstractContextManager[Any]:
    """Let scaled dot product attention use one backend alone; what names none of its own leaves PyTorch its choice."""
    return sdpa_kernel(BACKENDS[backend]) if backend in BACKENDS else nullcontext()
