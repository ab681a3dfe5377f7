"""Names from traces: shortened for labels, and escaped where Plotly would read them as markup."""

from __future__ import annotations

import html
import re
from functools import cache

LONGEST = 72
_READ = 6000  # of a longer name the rest is left out before it is looked at

_NESTED = re.compile(r"\([^()]*\)")
_TEMPLATE = re.compile(r"<[^<>]*>")
_GENERIC = re.compile(r"elementwise|^reduce_kernel|^index_|multi_tensor_apply|for_each")
_WRAPPER = re.compile(r"^(?:Kernel2?|DeviceKernel|device_kernel)$")
# What a generic kernel was instantiated for, as PyTorch names it within the template's arguments.
_HINT = re.compile(
    r"CUDAFunctor(?:OnSelf)?_(\w+)|(\w+)_kernel_(?:cuda|impl)|(\w+)Functor\b|(\w+)Ops<|(\w+)_kernel\(|(\w+?)(?:CUDAKernelImpl|_cuda_out)\("
)
_NOISE = frozenset({"gpu", "Binary", "Unary", "AUnary", "BUnary", "BinaryOp", "UnaryOp"})


@cache
def shorten(kernel: str, longest: int = LONGEST) -> str:
    """A kernel's name without return type, namespaces, template arguments and parameters, but with its functor's.

    >>> shorten("void at::native::vectorized_elementwise_kernel<4, at::native::FillFunctor<float> >(int, float)")
    'vectorized_elementwise_kernel · Fill'
    >>> shorten("nvjet_sm90_tst_128x64_64x8_1x4_h_bz_TNN"), shorten("Memcpy HtoD (Pageable -> Device)")
    ('nvjet_sm90_tst_128x64_64x8_1x4_h_bz_TNN', 'Memcpy HtoD (Pageable -> Device)')
    """
    read = kernel[:_READ]
    if "::" not in read and not read.startswith("void "):
        return clip(kernel, longest)
    base = _base(read)
    arguments = read[read.find(base) + len(base) :]
    if _WRAPPER.search(base):
        base = re.split(r"[,<>(]", arguments.lstrip("<"), maxsplit=1)[0].rsplit("::", 1)[-1] or base
    elif _GENERIC.search(base):
        base += _hint(arguments)
    return clip(base or kernel, longest)


def _base(kernel: str) -> str:
    for inner in (_NESTED, _TEMPLATE):
        shorter = None
        while shorter != kernel:
            shorter, kernel = kernel, inner.sub("", kernel)
    words = kernel.split()
    return words[-1].rsplit("::", 1)[-1] if words else ""


def _hint(arguments: str) -> str:
    for found in _HINT.finditer(arguments):
        name = next(group for group in found.groups() if group)
        if name not in _NOISE:
            return f" · {name}"
    return ""


def clip(text: str, longest: int = LONGEST) -> str:
    """The text, its middle left out where it is too long, and what cannot be seen (controls, bidi marks) made visible.

    >>> clip("abcdefghij", 7), clip("a\u202eb")
    ('abc…hij', 'a�b')
    """
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[: 4 * _READ])
    if len(text) <= longest:
        return text
    tail = (longest - 1) // 2
    return text[: longest - 1 - tail] + "…" + text[len(text) - tail :]


def escape(text: str) -> str:
    """Text that Plotly shows as it is: it reads a few HTML tags in labels.

    >>> escape("<b>&")
    '&lt;b&gt;&amp;'
    """
    return html.escape(text, quote=False)
