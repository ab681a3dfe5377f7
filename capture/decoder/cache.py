"""Keys and values of every layer in memory of fixed size, written in place: no concatenation, no allocation."""

import torch
from torch import Tensor
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb, rotate_half

from ridgeline.capture.decoder.attention import Rotary


class KeyValueCache:
    """Keys and values, a tensor `[batch, kv_heads, capacity, head_dim]` a layer, each of its own storage.

    One storage a layer, rather than slices of one large tensor, so that an execution trace tells the layers apart.
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

    @property
    def nbytes(self) -> int:
        """Bytes of all layers."""
        return sum(tensor.nbytes for tensor in (*self.keys, *self.values))


class Cached:
    """A forward that writes its keys and values at `positions` `[query]` and sees the cache's first `context` slots.

    Positions are on the device, so that the same launch serves another place: a CUDA graph replays it, compiled code
    need not be compiled again. Keys are stored after rotation.
    """

    def __init__(
        self,
        cache: KeyValueCache,
        positions: Tensor,
        context: int,
        *,
        causal: bool = False,
        mask: Tensor | None = None,
    ) -> None:
        self.causal, self.mask = causal, mask
        self._cache, self._positions, self._context = cache, positions, context

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, rotary: Rotary, layer: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The visible slots as views of the layer's tensors."""
        query, key = apply_rotary_pos_emb(query, key, *rotary)
        keys, values = self._cache.keys[layer], self._cache.values[layer]
        keys.index_copy_(2, self._positions, key)
        values.index_copy_(2, self._positions, value)
        return query, keys[:, :, : self._context], values[:, :, : self._context]


class Published:
    """What Fast-dLLM's published dual cache pays in each layer of each reuse step, so that it can be measured.

    Keys are cached before rotation, and all of them are rotated again, in float32. With `synchronous` the slots to
    write and the block's end are found from a mask of positions, which makes the host wait five times a layer.
    """

    causal = False
    mask: Tensor | None = None

    def __init__(
        self, cache: KeyValueCache, positions: Tensor, all_rotary: Rotary, *, unrotated: bool, synchronous: bool
    ) -> None:
        """`all_rotary` are cosines and sines of every slot, `[1, capacity, head_dim]` each."""
        self._cache, self._positions, self._all = cache, positions, all_rotary
        self._unrotated, self._synchronous = unrotated, synchronous
        self._replaced = torch.zeros(all_rotary[0].shape[1], dtype=torch.bool, device=positions.device)
        self._replaced[positions] = True

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, rotary: Rotary, layer: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """All slots of the layer, rotated now where they were cached unrotated."""
        keys, values = self._cache.keys[layer], self._cache.values[layer]
        slots = self._wait_for_slots() if self._synchronous else self._positions
        if not self._unrotated:
            query, key = apply_rotary_pos_emb(query, key, *rotary)
        keys[:, :, slots] = key
        values[:, :, slots] = value
        if self._unrotated:
            query = _rotate_in_float32(query, *rotary)
            keys = _rotate_in_float32(keys, *self._all)
        return query, keys, values

    def _wait_for_slots(self) -> Tensor:
        """The slots to write, by the published code's way of finding them and the block's end."""
        slots = self._replaced.nonzero()[:, 0]
        if len(slots) and bool(self._replaced.any()):
            end = self._replaced.nonzero()[:, 0].max() + 1
            _ = int(end), int(end - len(slots))
        return slots


def _rotate_in_float32(states: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Rotary embedding by way of float32, back in the dtype of `states`."""
    wide = states.float()
    cosines, sines = cosines[:, None].float(), sines[:, None].float()
    half: Tensor = rotate_half(wide)  # type: ignore[no-untyped-call]
    return (wide * cosines + half * sines).to(states.dtype)
