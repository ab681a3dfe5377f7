"""Keys and values of every layer in memory of fixed size, written in place without concatenation or allocation."""

import torch
from torch import Tensor
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb, rotate_half

from ridgeline.capture.decoder.attention import Rotary, View


class KeyValueCache:
    """Keys and values of all layers, one tensor of `size` `[batch, kv_heads, capacity, head_dim]` each.

    Every tensor has its own storage, so that an execution trace distinguishes the layers.
    """

    def __init__(self, layers: int, size: tuple[int, int, int, int], dtype: torch.dtype, device: torch.device) -> None:
        self.keys = [torch.zeros(size, dtype=dtype, device=device) for _ in range(layers)]
        self.values = [torch.zeros(size, dtype=dtype, device=device) for _ in range(layers)]

    @property
    def nbytes(self) -> int:
        """Bytes of all layers."""
        return sum(tensor.nbytes for tensor in (*self.keys, *self.values))


class Cached(View):
    """A forward that caches rotated keys, and values, at `positions` `[query]` and sees the first `context` slots.

    Positions are on the device, so one launch serves every place in the sequence: a CUDA graph can be replayed there,
    and compiled code is not compiled again.
    """

    def __init__(
        self, cache: KeyValueCache, positions: Tensor, context: int, *, causal: bool = False, mask: Tensor | None = None
    ) -> None:
        super().__init__(causal=causal, mask=mask)
        self._cache, self._positions, self._context = cache, positions, context

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, rotary: Rotary, layer: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries, and the visible slots as views of the layer's tensors."""
        query, key = apply_rotary_pos_emb(query, key, *rotary)
        keys, values = self._cache.keys[layer], self._cache.values[layer]
        keys.index_copy_(2, self._positions, key)
        values.index_copy_(2, self._positions, value)
        return query, keys[:, :, : self._context], values[:, :, : self._context]


class Published(View):
    """The costs of Fast-dLLM's published dual cache in each layer of each reuse step, to measure them.

    With `unrotated`, keys are cached before rotation and all of them are rotated again, in float32. With `synchronous`,
    slots and block end are computed from a mask of positions, which makes the host wait five times per layer.
    """

    def __init__(
        self, cache: KeyValueCache, positions: Tensor, all_rotary: Rotary, *, unrotated: bool, synchronous: bool
    ) -> None:
        """`all_rotary` are cosines and sines of every slot, `[1, capacity, head_dim]` each."""
        super().__init__()
        self._cache, self._positions, self._all_rotary = cache, positions, all_rotary
        self._unrotated, self._synchronous = unrotated, synchronous
        self._replaced = torch.zeros(all_rotary[0].shape[1], dtype=torch.bool, device=positions.device)
        self._replaced[positions] = True

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, rotary: Rotary, layer: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries, and all slots of the layer."""
        keys, values = self._cache.keys[layer], self._cache.values[layer]
        slots = self._positions
        if self._synchronous:
            # The published code's expressions: each nonzero(), bool() and int() waits for the device.
            slots = self._replaced.nonzero()[:, 0]
            if len(slots) and bool(self._replaced.any()):
                end = self._replaced.nonzero()[:, 0].max() + 1
                _ = int(end), int(end - len(slots))
        if not self._unrotated:
            query, key = apply_rotary_pos_emb(query, key, *rotary)
        keys[:, :, slots] = key
        values[:, :, slots] = value
        if self._unrotated:
            query = _rotate_in_float32(query, *rotary)
            keys = _rotate_in_float32(keys, *self._all_rotary)
        return query, keys, values


def _rotate_in_float32(states: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Rotary embedding of `states`, computed in float32 and returned in the dtype of `states`."""
    wide = states.float()
    cosines, sines = cosines[:, None].float(), sines[:, None].float()
    half: Tensor = rotate_half(wide)  # type: ignore[no-untyped-call]
    return (wide * cosines + half * sines).to(states.dtype)
