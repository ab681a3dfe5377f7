"""Price operators of PyTorch with absurd arguments: `python -m tests.analyze.pricing.sweep EVERY`, one in so many.

Those that are known to crash are left out: they are priced in a process of their own.

Says each operator before it is priced, so that the last line names the one that a crash or a hang is of. The process
may hold one gigabyte more than PyTorch itself: what allocates what a signature says dies of it.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ridgeline.analyze.pricing.price import price_all
from ridgeline.analyze.reading.columns import Signature

CRASH = (
    "aten::_nnpack_spatial_convolution",
    "aten::_thnn_fused_gru_cell",
    "aten::_thnn_fused_lstm_cell",
    "aten::_thnn_differentiable_gru_cell_backward",
    "aten::_thnn_differentiable_lstm_cell_backward",
    "aten::fractional_max_pool2d",
    "aten::fractional_max_pool2d_backward",
    "aten::fractional_max_pool3d",
    "aten::fractional_max_pool3d_backward",
    "aten::quantized_lstm_cell",
    "aten::_new_zeros_with_same_feature_meta",
)
"""PyTorch 2.11, or 2.13, ends the process for some arguments of these."""
HUGE, SPARE_BYTES = 1 << 47, 1 << 30
CODE = "__import__('os').system('touch planted')"
STYLES: list[tuple[list[int], str, str]] = [
    ([HUGE, 3], str(1 << 40), f"[{1 << 40}, {1 << 20}]"),
    ([1 << 62] * 4, "-9223372036854775808", "[-1]"),
    ([], CODE, CODE),
    ([0, 0, 0], "0", "[0, 0]"),
    ([2] * 40, "9223372036854775807", "[" + "1, " * 999 + "1]"),
    ([4, 4], "nan", "[]"),
]
"""Of a tensor the sizes, of a number and of a list what was recorded."""


def overloads() -> list[Any]:
    """Every overload of every ``aten`` operator, by name."""
    names = sorted({schema.name for schema in torch._C._jit_get_all_schemas() if schema.name.startswith("aten::")})
    packets: list[Any] = [getattr(torch.ops.aten, name.removeprefix("aten::"), None) for name in names]
    packets = [packet for packet in packets if isinstance(packet, torch._ops.OpOverloadPacket)]
    return [getattr(packet, name) for packet in packets for name in packet.overloads()]


def signatures(overload: Any) -> Iterator[Signature]:
    """Calls of it in each style."""
    schema = overload._schema
    operator = f"{schema.name}.{schema.overload_name}" if schema.overload_name else schema.name
    for sizes, number, several in STYLES:
        recorded = [_recorded(str(argument.type), sizes, number, several) for argument in schema.arguments]
        dims, types, concrete = (json.dumps([row[column] for row in recorded]).encode() for column in range(3))
        yield operator, dims, types, b"", concrete


def _recorded(kind: str, sizes: list[int], number: str, several: str) -> tuple[Any, str, str]:
    """Size, type and text of an argument, as the profiler records them."""
    if "List[" in kind and "Tensor" in kind:
        return [sizes, sizes], "TensorList", ""
    if "Tensor" in kind:
        return sizes, "float", ""
    if "List[" in kind:
        return [], "ScalarList", several
    if "Device" in kind:
        return [], "Device", "cpu"
    return [], "Scalar", number


def main(every: int) -> None:
    """Price them, the nth and each ``every``-th after it."""
    price_all([("aten::mm", b"[[4, 4], [4, 4]]", b'["float", "float"]', b"", b'["", ""]')])
    torch.manual_seed(1)
    state = torch.get_rng_state()
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + SPARE_BYTES,) * 2)
    for overload in overloads()[::every]:
        if overload._schema.arguments and overload._schema.name not in CRASH:
            print(overload, flush=True)
            price_all(signatures(overload))
    assert torch.equal(state, torch.get_rng_state()), "the random generator was used"


if __name__ == "__main__":
    main(int(sys.argv[1]))
