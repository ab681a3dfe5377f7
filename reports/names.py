"""Shorten the names that traces hold, and escape them where Plotly reads markup."""

import html
import re
from functools import cache

LONGEST = 72
# Template arguments make some names megabytes long; only this many characters are parsed.
_PARSED = 6000

_NESTED = re.compile(r"\([^()]*\)")
_TEMPLATE = re.compile(r"<[^<>]*>")
_GENERIC = re.compile(r"elementwise|^reduce_kernel|^index_|multi_tensor_apply|for_each")
_WRAPPER = re.compile(r"^(?:Kernel2?|DeviceKernel|device_kernel)$")
# The names that PyTorch gives, within the template's arguments, to the operation of a generic kernel.
_HINT = re.compile(
    r"CUDAFunctor(?:OnSelf)?_(\w+)|(\w+)_kernel_(?:cuda|impl)|(\w+)Functor\b|(\w+)Ops<|(\w+)_kernel\(|(\w+?)(?:CUDAKernelImpl|_cuda_out)\("
)
_NOISE = frozenset({"gpu", "Binary", "Unary", "AUnary", "BUnary", "BinaryOp", "UnaryOp"})


@cache
def shorten(kernel: str, longest: int = LONGEST) -> str:
    """Return a kernel's name without return type, namespaces, template arguments and parameters.

    A generic kernel keeps the name of its functor after a dot. The result has at most ``longest`` characters.

    >>> shorten("void at::native::vectorized_elementwise_kernel<4, at::native::FillFunctor<float> >(int, float)")
    'vectorized_elementwise_kernel · Fill'
    >>> shorten("nvjet_sm90_tst_128x64_64x8_1x4_h_bz_TNN"), shorten("Memcpy HtoD (Pageable -> Device)")
    ('nvjet_sm90_tst_128x64_64x8_1x4_h_bz_TNN', 'Memcpy HtoD (Pageable -> Device)')
    """
    signature = kernel[:_PARSED]
    if "::" not in signature and not signature.startswith("void "):
        return clip(kernel, longest)
    # A regular expression cannot match nested brackets: remove the innermost ones until none is left.
    bare = signature
    for innermost in (_NESTED, _TEMPLATE):
        removed = 1
        while removed:
            bare, removed = innermost.subn("", bare)
    words = bare.split()
    base = words[-1].rsplit("::", 1)[-1] if words else ""
    arguments = signature[signature.find(base) + len(base) :]
    if _WRAPPER.search(base):
        # CUTLASS: the first template argument is the kernel that the wrapper runs.
        base = re.split(r"[,<>(]", arguments.lstrip("<"), maxsplit=1)[0].rsplit("::", 1)[-1] or base
    elif _GENERIC.search(base):
        hints = (next(filter(None, match.groups())) for match in _HINT.finditer(arguments))
        functor = next((hint for hint in hints if hint not in _NOISE), None)
        base += f" · {functor}" if functor else ""
    return clip(base or kernel, longest)


def clip(text: str, longest: int = LONGEST) -> str:
    """Return ``text`` with its middle cut out to ``longest`` characters, and control and bidi characters replaced.

    >>> clip("abcdefghij", 7), clip("a\u202eb")
    ('abc…hij', 'a�b')
    """
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[: 4 * _PARSED])
    if len(text) <= longest:
        return text
    tail = (longest - 1) // 2
    return text[: longest - 1 - tail] + "…" + text[len(text) - tail :]


def escape(text: str) -> str:
    """Escape the HTML tags that Plotly would interpret in a label.

    >>> escape("<b>&")
    '&lt;b&gt;&amp;'
    """
    return html.escape(text, quote=False)


def hover_text(*lines: str) -> str:
    """Join lines into the text of a Plotly tooltip, each escaped and of at most 96 characters.

    >>> hover_text("a", "<b>")
    'a<br>&lt;b&gt;'
    """
    return "<br>".join(escape(clip(line, 96)) for line in lines)
