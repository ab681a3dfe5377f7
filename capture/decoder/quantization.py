"""8-bit linear layers: weights are quantized once, one scale per output; activations at every call, one per row.

Weights are read as one byte per element, and products run on the 8-bit paths of the tensor units: `_scaled_mm` for
float8 e4m3, which applies the scales to its output, and `_int_mm` for int8, whose exact sums are scaled afterwards.
Nothing here waits for the device, and a compiler fuses everything but the products. Products use fast accumulation, as
serving engines do. An H200 keeps about 13 bits of it: a sum of 14,336 products is then within 2^-11 of the sum of their
magnitudes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TYPES = {"fp8": torch.float8_e4m3fn, "int8": torch.int8}
LARGEST = {torch.float8_e4m3fn: 448.0, torch.int8: 127.0}
"""The value that the largest magnitude of a row maps to: the largest that the type has with both signs."""

LEAST_SCALE = 1e-12
"""The least magnitude that sets a scale: a row of zeros would have none."""

LEAST_ROWS = 32
"""Products with fewer rows are padded to this many: `_int_mm` on a GPU rejects 16 rows or fewer, and `_scaled_mm`
documents no row-wise scales for so few. Reading the weights bounds such a product, with or without the padding."""


class QuantizedLinear(nn.Module):
    """An 8-bit copy of a linear layer: `weight` `[out, in]`, float32 `scale` `[out]`, and the layer's own `bias`.

    Results are products of the rounded weights and activations, in the dtype of the activations.
    """

    def __init__(self, layer: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        weight, scale = quantized(layer.weight.data, dtype)
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.scale = nn.Parameter(scale[:, 0].contiguous(), requires_grad=False)
        self.bias: nn.Parameter | None = layer.bias  # None if the layer has none, whatever its stub says

    def forward(self, hidden: Tensor) -> Tensor:
        """`[..., in]` to `[..., out]`."""
        return linear(hidden, self.weight, self.bias, self.scale)


def quantize(module: nn.Module, precision: str) -> None:
    """Replace all linear layers within `module` by layers of `precision` (`fp8`, `int8`), and free their weights."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                setattr(parent, name, QuantizedLinear(child, TYPES[precision]))


_CPU_SCALES_ROWS = tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 13)
"""Whether fp8 products on a CPU take one scale per row. torch 2.11 takes one per matrix; 2.12 was not tried."""


def linear(hidden: Tensor, weight: Tensor, bias: Tensor | None, scale: Tensor | None = None) -> Tensor:
    """A linear layer of `weight` `[out, in]`, `[..., in]` to `[..., out]`; with `scale` `[out]`, an 8-bit one."""
    if scale is None:
        return F.linear(hidden, weight, bias)
    rows = hidden.reshape(-1, hidden.shape[-1])
    count = rows.shape[0]
    if count < LEAST_ROWS:
        rows = F.pad(rows, (0, 0, 0, LEAST_ROWS - count))
    values, scales = quantized(rows, weight.dtype)
    if weight.dtype is torch.int8:
        product = (torch._int_mm(values, weight.t()) * scales * scale).to(hidden.dtype)
    elif weight.device.type == "cpu" and not _CPU_SCALES_ROWS:
        one = torch.ones((), dtype=torch.float32)
        product = torch._scaled_mm(values, weight.t(), one, one, out_dtype=torch.float32)
        product = (product * scales * scale).to(hidden.dtype)
    else:
        product = torch._scaled_mm(values, weight.t(), scales, scale[None], out_dtype=hidden.dtype, use_fast_accum=True)
    product = product[:count]
    if bias is not None:
        product = product + bias
    return product.reshape(*hidden.shape[:-1], weight.shape[0])


def quantized(rows: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """8-bit values `[n, width]` and float32 scales `[n, 1]` whose product approximates `rows` `[n, width]`."""
    # The infinity norm of a row is its largest magnitude.
    largest = torch.linalg.vector_norm(rows, torch.inf, -1, keepdim=True, dtype=torch.float32)
    scales = largest.clamp_min(LEAST_SCALE) / LARGEST[dtype]
    values = rows / scales
    return (values.round() if dtype is torch.int8 else values).to(dtype), scales
