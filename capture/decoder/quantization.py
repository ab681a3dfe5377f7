"""Linear layers of 8 bits: weights quantized once with a scale for each output, activations with one for each row.

Weights are read as one byte an element, and products run on the tensor units' 8-bit paths: `_scaled_mm` of float8 e4m3,
which scales what it writes, and `_int_mm` of int8, whose exact sums are scaled after it. Nothing here waits for the
device, and a compiler fuses all but the products. Fast accumulation, of which an H200 keeps some 13 bits, is what
serving engines use; a sum of 14,336 products is then within 2^-11 of the sum of their magnitudes.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TYPES = {"fp8": torch.float8_e4m3fn, "int8": torch.int8}
LARGEST = {torch.float8_e4m3fn: 448.0, torch.int8: 127.0}
"""What the largest of a row becomes: the largest that there is of the type, on both sides of zero."""

LEAST_SCALE = 1e-12
"""Of a row of zeros, which would have none."""

LEAST_ROWS = 32
"""Products of fewer rows are padded to as many: on a GPU `_int_mm` takes none of 16 or fewer, and of `_scaled_mm` with
a scale for each row so few are nowhere promised. Such a product is bound by its weights."""


class QuantizedLinear(nn.Module):
    """An 8-bit layer of a linear layer's weights: `weight` `[out, in]`, `scale` `[out]` in float32, `bias` as it was.

    Results are those of the weights and activations as rounded, in the dtype of the activations.
    """

    def __init__(self, layer: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        weight, scale = quantized(layer.weight.data, dtype)
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.scale = nn.Parameter(scale[:, 0].contiguous(), requires_grad=False)
        self.bias = layer.bias

    def forward(self, hidden: Tensor) -> Tensor:
        """`[..., in]` to `[..., out]`."""
        return linear(hidden, self.weight, self.bias, self.scale)


def quantize(module: nn.Module, precision: str) -> None:
    """Put 8-bit layers (`fp8`, `int8`) in place of all linear layers within a module, whose own weights are freed."""
    for parent, name in list(_linear_layers(module)):
        setattr(parent, name, QuantizedLinear(getattr(parent, name), TYPES[precision]))


_CPU_SCALES_ROWS = tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 13)
"""True where a CPU's fp8 products take a scale a row; torch 2.11 takes one for the whole, 2.12 was not tried."""


def linear(hidden: Tensor, weight: Tensor, bias: Tensor | None, scale: Tensor | None = None) -> Tensor:
    """A linear layer of `weight` `[out, in]`, with `scale` `[out]` one of 8 bits: `[..., in]` to `[..., out]`."""
    if scale is None:
        return F.linear(hidden, weight, bias)
    rows = hidden.reshape(-1, hidden.shape[-1])
    count = rows.shape[0]
    if count < LEAST_ROWS:
        rows = F.pad(rows, (0, 0, 0, LEAST_ROWS - count))
    values, scales = quantized(rows, weight.dtype)
    product = _product(values, weight, scales, scale, hidden.dtype)[:count]
    if bias is not None:
        product = product + bias
    return product.reshape(*hidden.shape[:-1], weight.shape[0])


def quantized(rows: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """8-bit values `[n, width]` and float32 scales `[n, 1]`, whose product is near `rows` `[n, width]`."""
    largest = torch.linalg.vector_norm(rows, torch.inf, -1, keepdim=True, dtype=torch.float32)
    scales = largest.clamp_min(LEAST_SCALE) / LARGEST[dtype]
    values = rows / scales
    return (values.round() if dtype is torch.int8 else values).to(dtype), scales


def _product(values: Tensor, weight: Tensor, scales: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """`values` `[n, in]` by a weight's rows `[out, in]`, each with its scales: `[n, out]`."""
    if weight.dtype is torch.int8:
        return (torch._int_mm(values, weight.t()) * scales * scale).to(dtype)
    if weight.device.type == "cpu" and not _CPU_SCALES_ROWS:
        one = torch.ones((), dtype=torch.float32)
        product = torch._scaled_mm(values, weight.t(), one, one, out_dtype=torch.float32)
        return (product * scales * scale).to(dtype)
    return torch._scaled_mm(values, weight.t(), scales, scale[None], out_dtype=dtype, use_fast_accum=True)


def _linear_layers(module: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """All linear layers within a module, as what holds them and their name there."""
    for parent in module.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.Linear):
                yield parent, name
