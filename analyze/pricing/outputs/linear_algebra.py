"""Decompositions, solvers and Fourier transforms."""

from __future__ import annotations

from ridgeline.analyze.pricing.outputs.calls import (
    OutputRule,
    Result,
    axis,
    broadcast,
    check,
    dense,
    integer,
    integers,
    same_as,
    table,
)
from ridgeline.analyze.pricing.outputs.dtypes import to_complex, to_floating, to_real
from ridgeline.analyze.pricing.signature import Arguments, Tensor


def _matrices(call: Arguments, *, square: bool = False) -> tuple[Tensor, tuple[int, ...], int, int]:
    """The matrices, their batch, and their height and width."""
    tensor = call.tensor("A") or call.tensor("self") or call.needed("input")
    check(len(tensor.shape) >= 2)
    *batch, height, width = tensor.shape
    check(not square or height == width)
    return tensor, tuple(batch), height, width


def _each(*parts: str, square: bool = True) -> OutputRule:
    """Results of matrices of n × m, k = min(n, m): their sizes by the letters n, m and k, after ``:`` a precision.

    ``real`` and ``complex`` are the types of such parts; without one it is the matrices' own.
    """

    def outputs(call: Arguments) -> Result:
        tensor, batch, height, width = _matrices(call, square=square)
        check(to_floating(tensor.precision) == tensor.precision)
        size = {"n": height, "m": width, "k": min(height, width)}
        types = {"": tensor.precision, "real": to_real(tensor.precision), "complex": to_complex(tensor.precision)}
        results = []
        for part in parts:
            letters, _, precision = part.partition(":")
            results.append(dense((*batch, *(size[letter] for letter in letters)), types.get(precision, precision)))
        return results

    return outputs


def _svd(call: Arguments) -> Result:
    tensor, batch, height, width = _matrices(call)
    k = min(height, width)
    full = call.flag("full_matrices") if "full_matrices" in call.arguments else "A" in call.arguments
    values = dense((*batch, k), to_real(tensor.precision))
    left = dense((*batch, height, height if full else k), tensor.precision)
    right = dense((*batch, width if full else k, width), tensor.precision)
    return [left, values, right]


def _decomposed(call: Arguments) -> Result:
    """``_linalg_svd`` computes singular vectors unless told not to."""
    left, values, right = _svd(call)
    if call.arguments.get("compute_uv") == "False":
        left = right = dense((0,), left.precision)
    return [left, values, right]


def _eigenvectors(call: Arguments) -> Result:
    """``_linalg_eigh`` computes eigenvectors unless told not to."""
    values, vectors = _each("n:real", "nn")(call)
    return [values, dense((0,), vectors.precision) if call.arguments.get("compute_v") == "False" else vectors]


def _solved(*parts: str) -> OutputRule:
    """The solution of ``A X = B``, where B is a vector or a matrix for each of A, and parts of A."""

    def outputs(call: Arguments) -> Result:
        matrices, right = call.needed("A"), call.needed("B")
        check(matrices.precision == right.precision and len(matrices.shape) >= 2)
        others = _each(*parts)(call)
        if len(right.shape) == 1 or matrices.shape[:-1] == right.shape:
            return [dense((*matrices.shape[:-2], *right.shape[-1:]), right.precision), *others]
        batch = broadcast(matrices.shape[:-2], right.shape[:-2])
        return [dense((*batch, *right.shape[-2:]), right.precision), *others]

    return outputs


def _solved_by(*names: str) -> OutputRule:
    """The solution of equations whose matrices are decomposed; batches broadcast."""

    def outputs(call: Arguments) -> Result:
        first, right = (call.needed(name) for name in names)
        check(len(first.shape) >= 2 and len(right.shape) >= 2)
        batch = broadcast(first.shape[:-2], right.shape[:-2])
        return [dense((*batch, *right.shape[-2:]), right.precision)]

    return outputs


def _triangular(call: Arguments) -> Result:
    """The solution, and a copy of the coefficients, of batches that broadcast."""
    right, matrices = call.needed("self"), call.needed("A")
    check(len(matrices.shape) >= 2 and len(right.shape) >= 2)
    batch = broadcast(matrices.shape[:-2], right.shape[:-2])
    return [dense((*batch, *t.shape[-2:]), t.precision) for t in (right, matrices)]


def _orthogonal(call: Arguments) -> Result:
    """Q and R. The mode is not recorded and counts as the default, ``reduced``."""
    tensor, batch, height, width = _matrices(call)
    k = min(height, width)
    some = call.arguments.get("some") != "False"
    return [
        dense((*batch, height, k if some else height), tensor.precision),
        dense((*batch, k if some else height, width), tensor.precision),
    ]


def _unpacked(call: Arguments) -> Result:
    """The permutation, and the lower and the upper factor."""
    tensor = call.tensor("LU_data") or call.tensor("A") or call.needed("self")
    check(len(tensor.shape) >= 2)
    *batch, height, width = tensor.shape
    k, empty = min(height, width), dense((0,), tensor.precision)
    data, pivots = (call.arguments.get(name) != "False" for name in ("unpack_data", "unpack_pivots"))
    return [
        dense((*batch, height, height), tensor.precision)
        if pivots and call.arguments.get("pivot") != "False"
        else empty,
        dense((*batch, height, k), tensor.precision) if data else empty,
        dense((*batch, k, width), tensor.precision) if data else empty,
    ]


def _pseudo_inverse(call: Arguments) -> Result:
    tensor, batch, height, width = _matrices(call)
    return [dense((*batch, width, height), tensor.precision)]


def _cross(call: Arguments) -> Result:
    self, other = call.needed("self"), call.needed("other")
    check(len(self.shape) == len(other.shape) and self.precision == other.precision)
    return [dense(broadcast(self.shape, other.shape), self.precision)]


def _solved_triangular(call: Arguments) -> Result:
    matrices, right = call.needed("self"), call.needed("B")
    check(len(matrices.shape) >= 2 and len(right.shape) >= 2 and matrices.precision == right.precision)
    batch = broadcast(matrices.shape[:-2], right.shape[:-2])
    return [dense((*batch, *right.shape[-2:]), right.precision)]


def _vecdot(call: Arguments) -> Result:
    x, y = call.needed("x"), call.needed("y")
    shape = list(broadcast(x.shape, y.shape))
    check(bool(shape) and x.precision == y.precision)
    del shape[axis(integer(call, "dim", -1), len(shape))]
    return [dense(shape, x.precision)]


def _spectrum(call: Arguments) -> Result:
    """Complex transforms keep their size."""
    tensor = call.needed("self")
    check(to_complex(tensor.precision) == tensor.precision)
    return [dense(tensor.shape, tensor.precision)]


def _half_spectrum(call: Arguments) -> Result:
    """Of real numbers: the last of the dimensions holds one half, as the other mirrors it."""
    tensor, dims = call.needed("self"), integers(call, "dim")
    check(tensor.precision in ("fp32", "fp64") and bool(dims))
    shape, last = list(tensor.shape), axis(dims[-1], len(tensor.shape))
    if call.flag("onesided"):
        shape[last] = shape[last] // 2 + 1
    return [dense(shape, to_complex(tensor.precision))]


def _from_half_spectrum(call: Arguments) -> Result:
    tensor, dims = call.needed("self"), integers(call, "dim")
    check(to_real(tensor.precision) != tensor.precision and bool(dims))
    shape = list(tensor.shape)
    shape[axis(dims[-1], len(shape))] = integer(call, "last_dim_size")
    return [dense(shape, to_real(tensor.precision))]


def _lengths(call: Arguments, *, all_dims: bool) -> dict[int, int]:
    """The transformed dimensions, and how many elements each has: recorded by ``n`` or ``s``, else the tensor's."""
    tensor = call.needed("self")
    name = "n" if "n" in call.arguments else "s"
    lengths = integers(call, name) if call.arguments.get(name) is not None else None
    count = len(tensor.shape)
    every = range(count) if lengths is None else range(-len(lengths), 0)
    listed = integers(call, "dim", [-1] if name == "n" else every if all_dims else [-2, -1])
    dims = [axis(dim, count) for dim in listed]
    chosen = [tensor.shape[dim] for dim in dims] if lengths is None else lengths
    return dict(zip(dims, chosen, strict=True))


def _transformed(*, half: bool, all_dims: bool = False) -> OutputRule:
    """Complex transforms. If ``half``, the last dimension of the result holds one half, as the other mirrors it.

    Without recorded dimensions it is the last or the last two, or with ``all_dims`` each.
    """

    def outputs(call: Arguments) -> Result:
        tensor, lengths = call.needed("self"), _lengths(call, all_dims=all_dims)
        check(bool(lengths) and min(lengths.values()) > 0)
        shape = [lengths.get(i, n) for i, n in enumerate(tensor.shape)]
        if half:
            check(to_real(tensor.precision) == tensor.precision)
            last = list(lengths)[-1]
            shape[last] = shape[last] // 2 + 1
        return [dense(shape, to_complex(to_floating(tensor.precision)))]

    return outputs


def _to_real(*, all_dims: bool = False) -> OutputRule:
    """Transforms of one half of a spectrum to real numbers: by default as many as mirror it with an even number."""

    def outputs(call: Arguments) -> Result:
        tensor, lengths = call.needed("self"), _lengths(call, all_dims=all_dims)
        check(bool(lengths))
        last = list(lengths)[-1]
        if call.arguments.get("n" if "n" in call.arguments else "s") is None:
            lengths[last] = 2 * (lengths[last] - 1)
        check(min(lengths.values()) > 0)
        shape = [lengths.get(i, n) for i, n in enumerate(tensor.shape)]
        return [dense(shape, to_real(to_complex(to_floating(tensor.precision))))]

    return outputs


def _short_spectra(call: Arguments) -> Result:
    """``stft``: a spectrum of each window, in columns; real and imaginary parts apart where they are asked for."""
    tensor, size = call.needed("self"), integer(call, "n_fft")
    hop = integer(call, "hop_length", size // 4)
    check(len(tensor.shape) in (1, 2) and to_real(tensor.precision) == tensor.precision and hop > 0)
    padded = tensor.shape[-1] + (2 * (size // 2) if call.flag("center") else 0)
    check(0 < size <= padded)
    onesided = call.arguments.get("onesided") != "False"
    shape = (*tensor.shape[:-1], size // 2 + 1 if onesided else size, 1 + (padded - size) // hop)
    if call.flag("return_complex"):
        return [dense(shape, to_complex(tensor.precision))]
    return [dense((*shape, 2), tensor.precision)]


RULES = table(
    ("linalg_inv inverse linalg_matrix_exp matrix_exp linalg_cholesky cholesky cholesky_inverse",
     _each("nn")),
    ("linalg_inv_ex linalg_cholesky_ex", _each("nn", ":int32")),
    ("linalg_det det logdet", _each("")),
    ("_linalg_det", _each("", "nn", "n:int32")),
    ("linalg_slogdet slogdet", _each("", ":real")),
    ("_linalg_slogdet", _each("", ":real", "nn", "n:int32")),
    ("linalg_eig", _each("n:complex", "nn:complex")),
    ("linalg_eigvals _linalg_eigvals", _each("n:complex")),
    ("linalg_eigh _linalg_eigh", _eigenvectors),
    ("linalg_eigvalsh", _each("n:real")),
    ("linalg_solve", _solved()),
    ("linalg_solve_ex", _solved(":int32")),
    ("_linalg_solve_ex", _solved("nn", "n:int32", ":int32")),
    ("linalg_lu_solve", _solved_by("LU", "B")),
    ("linalg_ldl_solve", _solved_by("LD", "B")),
    ("cholesky_solve", _solved_by("input2", "self")),
    ("_cholesky_solve_helper", _solved_by("A", "self")),
    ("linalg_ldl_factor_ex", _each("nn", "n:int32", ":int32")),
    ("linalg_ldl_factor", _each("nn", "n:int32")),
    ("triangular_solve", _triangular),
    ("linalg_qr qr", _orthogonal),
    ("lu_unpack linalg_lu", _unpacked),
    ("linalg_pinv pinverse", _pseudo_inverse),
    ("ormqr", same_as("input3")),
    ("linalg_lu_factor", _each("nm", "k:int32", square=False)),
    ("linalg_lu_factor_ex _lu_with_info", _each("nm", "k:int32", ":int32", square=False)),
    ("linalg_svd", _svd),
    ("_linalg_svd", _decomposed),
    ("linalg_svdvals", _each("k:real", square=False)),
    ("geqrf", _each("nm", "k", square=False)),
    ("linalg_cross cross", _cross),
    ("linalg_solve_triangular", _solved_triangular),
    ("linalg_vecdot", _vecdot),
    ("linalg_householder_product", same_as("input")),
    ("fft_fft fft_ifft fft_fft2 fft_ifft2", _transformed(half=False)),
    ("fft_fftn fft_ifftn", _transformed(half=False, all_dims=True)),
    ("fft_rfft fft_rfft2 fft_ihfft fft_ihfft2", _transformed(half=True)),
    ("fft_rfftn fft_ihfftn", _transformed(half=True, all_dims=True)),
    ("fft_irfft fft_irfft2 fft_hfft fft_hfft2", _to_real()),
    ("fft_irfftn fft_hfftn", _to_real(all_dims=True)),
    ("stft", _short_spectra),
    ("_fft_c2c", _spectrum),
    ("_fft_r2c", _half_spectrum),
    ("_fft_c2r", _from_half_spectrum),
)  # fmt: skip
