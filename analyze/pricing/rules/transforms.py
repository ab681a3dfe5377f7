"""Fourier transforms and dense linear algebra.

A complex transform of n points counts 5·n·log2(n), one with a real side half of that: the convention of FFTW's
benchmarks, not a count of any library's operations. Factorizations count as LAPACK's (LAPACK Working Note 41,
appendix C), by their leading terms; of complex numbers four times as many. Iterative decompositions are not counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ridgeline.analyze.pricing.binding import Bound
from ridgeline.analyze.pricing.rules.rule import Rule, no_flops
from ridgeline.analyze.pricing.signature import Tensor


def _transform(bound: Bound, outputs: list[Tensor]) -> int:
    source, (result, *_) = bound.needed("self"), outputs
    dims = bound.numbers("dim")
    if dims is None:
        raise ValueError("the transformed dimensions are not recorded")
    # the side with all points: the real one
    is_real = not source.precision.startswith("complex"), not result.precision.startswith("complex")
    whole = source if is_real[0] else result
    points = math.prod(whole.shape[dim] for dim in dims)
    return round((2.5 if any(is_real) else 5) * whole.elements * math.log2(max(points, 1)))


Count = Callable[[Bound, list[Tensor]], int]


def _matrix(count: Callable[[int, int], float], name: str | None = None) -> Count:
    """``count`` of the rows and columns of every matrix."""

    def flops(bound: Bound, outputs: list[Tensor]) -> int:
        tensors = [v for v in bound.arguments.values() if isinstance(v, Tensor)]
        tensor = bound.needed(name) if name else tensors[0]
        rows, columns = tensor.shape[-2:]
        matrices = math.prod(tensor.shape[:-2])
        return round(matrices * count(rows, columns) * (4 if tensor.precision.startswith("complex") else 1))

    return flops


def _lu(m: int, n: int) -> float:
    k = min(m, n)
    return m * n * k - (m + n) * k**2 / 2 + k**3 / 3 if m != n else 2 * n**3 / 3


def _qr(m: int, n: int) -> float:
    k = min(m, n)
    return 2 * max(m, n) * k**2 - 2 * k**3 / 3


def _solve(matrix: str, sides: str, passes: int, factor: Callable[[int, int], float] = lambda m, n: 0.0) -> Count:
    """``passes`` triangular solutions of every right side, after a factorization."""

    def flops(bound: Bound, outputs: list[Tensor]) -> int:
        solved = bound.needed(sides)
        n = bound.needed(matrix).shape[-1]
        scale = 4 if solved.precision.startswith("complex") else 1
        return scale * passes * n * solved.elements + _matrix(factor, matrix)(bound, outputs)

    return flops


RULES = (
    Rule(("_fft_c2c", "_fft_r2c", "_fft_c2r"), _transform),
    Rule(("linalg_cholesky_ex", "cholesky"), _matrix(lambda m, n: n**3 / 3)),
    Rule(("linalg_lu_factor_ex", "_linalg_det", "_linalg_slogdet", "linalg_lu"), _matrix(_lu)),
    Rule(("linalg_inv_ex", "inverse"), _matrix(lambda m, n: 2 * n**3)),
    Rule(("geqrf", "linalg_qr"), _matrix(_qr)),
    Rule(("_linalg_solve_ex",), _solve("A", "B", 2, _lu)),
    Rule(("linalg_lu_solve",), _solve("LU", "B", 2)),
    Rule(("linalg_solve_triangular",), _solve("self", "B", 1)),
    Rule(("triangular_solve",), _solve("A", "self", 1)),
    Rule(("cholesky_solve",), _solve("input2", "self", 2)),
    Rule(("_cholesky_solve_helper",), _solve("A", "self", 2)),
    # two products and a difference of every component
    Rule(("linalg_cross",), lambda bound, outputs: 3 * outputs[0].elements),
    Rule(("lu_unpack",), no_flops),
    Rule(("_linalg_check_errors",), no_flops, outputs=lambda bound: []),
)
