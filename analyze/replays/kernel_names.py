"""Names of kernels that two traces write differently: mangled in one, with template arguments in the other."""

from __future__ import annotations

import re

FIRST_KERNEL = 2
"""The first code of a name; the codes before it are of copies and fills."""
_MANGLED = re.compile(r"_ZN?[KVrL]*(?=\d)")


def shared_codes(names: set[str], others: set[str]) -> dict[str, int]:
    """Return a code for each kernel name of two traces; a name of one trace alone has that of its identifier."""
    texts = {name: name if name in names and name in others else identifier(name) for name in sorted(names | others)}
    codes = {text: code for code, text in enumerate(sorted(set(texts.values())), FIRST_KERNEL)}
    return {name: codes[text] for name, text in texts.items()}


def identifier(kernel: str) -> str:
    """Return a kernel's qualified name without return type, template arguments and parameters, also of a mangled one.

    >>> identifier("void aiter::norm<8>(int*)"), identifier("_ZN5aiter4normILi8EEEvPi")
    ('aiter::norm', 'aiter::norm')
    """
    kernel = kernel.removesuffix(".kd")
    if not (start := _MANGLED.match(kernel)):
        plain = kernel.replace("(anonymous namespace)", "{anonymous}")
        return re.split(r"[<(]", plain, maxsplit=1)[0].rpartition(" ")[2]
    parts, at = [], start.end()
    while length := re.match(r"L?(\d{1,4})", kernel[at : at + 5]):
        at += length.end()
        parts.append(kernel[at : at + int(length[1])])
        at += int(length[1])
    return "::".join("{anonymous}" if part.startswith("_GLOBAL__N") else part for part in parts)
