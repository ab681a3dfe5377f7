"""A key and value cache of fixed size, written in place: no concatenation, no allocation after the start."""

import torch
from torch import Tensor


class KeyValueCache:
    """Keys and values of every layer, each a tensor `[batch, kv_heads, capacity, head_dim]` of its own storage.

    One storage a layer, rather than slices of one large tensor, so that an execution trace tells the layers apart.
    Attention layers call `update`; what they write and see is set for a whole forward by `select`.
    """

    def __init__(
        self,
        *,
        layers: int,
        batch: int,
        kv_heads: int,
        capacity: int,
        head_dim: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        size = (batch, kv_heads, capacity, head_dim)
        self.keys = [torch.zeros(size, dtype=dtype, device=device) for _ in range(layers)]
        self.values = [torch.zeros(size, dtype=dtype, device=device) for _ in range(layers)]
        self.capacity = capacity
        self._positions = torch.empty(0, dtype=torch.int64, device=device)
        self._context = 0

    @property
    def nbytes(self) -> int:
        """Bytes of all layers."""
        return sum(tensor.nbytes for tensor in (*self.keys, *self.values))

    def select(self, positions: Tensor, context: int) -> None:
        """Point the next forward at the slots `positions` `[query]`, and let it see the first `context` slots."""
        self._positions, self._context = positions, context

    def update(self, keys: Tensor, values: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Write `[batch, kv_heads, query, head_dim]` into a layer's slots; the visible part, as views of the layer."""
        self.keys[layer].index_copy_(2, self._positions, keys)
        self.values[layer].index_copy_(2, self._positions, values)
        return self.keys[layer][:, :, : self._context], self.values[layer][:, :, : self._context]
