"""Tensors split into views of their parts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from ridgeline.analyze.pricing.binding import MOST_PIECES
from ridgeline.analyze.pricing.outputs.calls import OutputRule, Result, axis, check, integer, integers, table
from ridgeline.analyze.pricing.outputs.views import copied, cut, without
from ridgeline.analyze.pricing.signature import Arguments, Tensor


def _pieces(tensor: Tensor, dim: int, lengths: Sequence[int]) -> Result:
    check(bool(tensor.shape) and len(lengths) <= MOST_PIECES)
    return [cut(tensor, dim, length) for length in lengths]


def _even(n: int, size: int) -> list[int]:
    """Lengths of ``size`` and a rest."""
    check(size > 0 or (size == n == 0))
    whole = n // size if size else 1
    check(whole <= MOST_PIECES)
    return [size] * whole + ([n % size] if size and (n % size or n == 0) else [])


def _split(call: Arguments) -> Result:
    tensor = call.needed("self")
    check(bool(tensor.shape))
    dim = axis(integer(call, "dim", 0), len(tensor.shape))
    name = next(name for name in ("split_size", "split_sizes") if name in call.arguments)
    sizes, n = integers(call, name), tensor.shape[dim]
    if str(call.arguments[name])[0] != "[":
        return _pieces(tensor, dim, _even(n, sizes[0]))
    check(sum(sizes) == n)
    return _pieces(tensor, dim, sizes)


def _chunk(call: Arguments) -> Result:
    tensor, chunks = call.needed("self"), integer(call, "chunks")
    check(bool(tensor.shape) and 0 < chunks <= MOST_PIECES)
    dim = axis(integer(call, "dim", 0), len(tensor.shape))
    n = tensor.shape[dim]
    size = -(-n // chunks)
    return _pieces(tensor, dim, _even(n, size) if size else [0] * chunks)


def _sections(dim: int | None) -> OutputRule:
    """Parts of equal length, the first ones longer by one, or parts between positions."""

    def outputs(call: Arguments) -> Result:
        tensor = call.needed("self")
        check(bool(tensor.shape))
        along = axis(integer(call, "dim", 0) if dim is None else dim, len(tensor.shape))
        n = tensor.shape[along]
        if "sections" in call.arguments:
            sections = integer(call, "sections")
            check(0 < sections <= MOST_PIECES)
            return _pieces(tensor, along, [n // sections + (i < n % sections) for i in range(sections)])
        bounds = [0, *(slice(at).indices(n)[1] for at in integers(call, "indices")), n]
        return _pieces(tensor, along, [max(b - a, 0) for a, b in pairwise(bounds)])

    return outputs


def _unbind(call: Arguments) -> Result:
    tensor = call.needed("self")
    check(bool(tensor.shape) and all(n <= MOST_PIECES for n in tensor.shape))
    dim = axis(integer(call, "dim", 0), len(tensor.shape))
    return [without(tensor, dim)] * tensor.shape[dim]


_PIECES = table(
    ("split split_with_sizes", _split),
    ("chunk", _chunk),
    ("tensor_split", _sections(None)),
    ("hsplit", lambda call: _sections(1 if len(call.needed("self").shape) > 1 else 0)(call)),
    ("vsplit", _sections(0)),
    ("dsplit", _sections(2)),
    ("unbind", _unbind),
)
RULES: dict[str, OutputRule] = (
    _PIECES
    | {f"{name}_copy": copied(rule) for name, rule in _PIECES.items()}
    | table(("unsafe_split unsafe_split_with_sizes", _split), ("unsafe_chunk", _chunk))
)
