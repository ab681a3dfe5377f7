"""The family of an operator or kernel, from ``families.toml`` and from rules from outside."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from ridgeline.analyze.pricing.outside import Outside, named, outside

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_NOISE = re.compile(r"^void |\(anonymous(?: namespace)?\)(?:::)?")
_ARGUMENTS = re.compile(r"[<(].*", re.DOTALL)
_PRODUCTS = frozenset({"mm", "addmm", "bmm", "baddbmm"})


class _Phrase(NamedTuple):
    """Words, in sequence, of a kernel's name, and the family that they tell; of several the least ``row`` decides."""

    row: int
    words: list[str]
    family: str


Phrases = dict[str, list[_Phrase]]
"""By their first word: most names have no word that begins one."""


class Tables(NamedTuple):
    """Families by operator and by words: of layouts, of what a kernel does, of what it is made of."""

    layouts: Phrases
    """Words of kernels that change a layout, whatever operator launches them."""
    operators: dict[str, str]
    specific: Phrases
    generic: Phrases


@cache
def tables() -> Tables:
    """Return what ``families.toml`` says."""
    data = tomllib.loads(Path(__file__).with_name("families.toml").read_text())
    operators = {
        name: family for table in ("operators", "engines") for family, names in data[table].items() for name in names
    }
    specific, generic = (
        _phrases((row["words"], row["family"]) for row in data["kernels"] if row.get("generic", False) == kind)
        for kind in (False, True)
    )
    return Tables(_phrases([(data["layouts"], "copy")]), operators, specific, generic)


def _phrases(rows: Iterable[tuple[list[str], str]]) -> Phrases:
    phrases: Phrases = {}
    for row, (texts, family) in enumerate(rows):
        for text in texts:
            first, *_ = sequence = text.split()
            phrases.setdefault(first, []).append(_Phrase(row, sequence, family))
    return phrases


def _told(phrases: Phrases, text: str) -> str | None:
    """The family that the words of a text tell, by the first row of which it has a word or a sequence of words."""
    sequence = words(text)
    told = [
        phrase
        for at, word in enumerate(sequence)
        for phrase in phrases.get(word, ())
        if sequence[at : at + len(phrase.words)] == phrase.words
    ]
    return min(told).family if told else None


@cache
def base_name(operator: str) -> str:
    """``aten::add_.Tensor`` -> ``add``: without namespace (``nccl:`` too), overload and trailing underscore."""
    name = operator.rpartition(":")[2].partition(".")[0]
    return name.rstrip("_") or name


def words(name: str) -> list[str]:
    """The words of a name in lower case, after a mark of its beginning.

    >>> words("flashinfer::norm::FusedAddRMSNormKernel")
    ['^', 'flashinfer', 'norm', 'fused', 'add', 'rms', 'norm', 'kernel']
    """
    return ["^", *map(str.lower, _WORD.findall(name))]


def family(operator: str | None, kernel: str, category: str) -> str:
    """The family of a device activity by its operator, else by its category, the kernel's words or the operator's.

    A kernel that changes the layout of an operator's tensors moves data: it is a copy.

    >>> family("aten::add.Tensor", "void elementwise_kernel", "kernel")
    'pointwise'
    >>> family(None, "void flashinfer::norm::RMSNormKernel<8u, __nv_bfloat16>", "kernel")
    'normalization'
    >>> family(None, "Memset (Device)", "memset")
    'memset'
    """
    return _family(outside(), operator, kernel, category)


@cache
def _family(rules: Outside, operator: str | None, kernel: str, category: str) -> str:
    known = tables()
    kernel = _NOISE.sub("", kernel)
    name = _ARGUMENTS.sub("", kernel)
    if found := _told(known.layouts, name):
        return found
    if operator is not None:
        if found := rules.families.get(named(operator)):
            return found
        if operator.startswith("triton_"):
            return _generated(operator)
        if found := known.operators.get(operator.partition(".")[0]) or known.operators.get(base_name(operator)):
            return found
    if category in ("memcpy", "memset"):
        return category
    if found := rules.families.get(name):
        return found
    return _generated(name) if name.startswith("triton_") else _by_words(operator, name, kernel)


def _by_words(operator: str | None, name: str, kernel: str) -> str:
    """The family by the words of a kernel's name, of its arguments, and of an operator outside PyTorch."""
    # PyTorch's operators are listed, and a region's name is a sentence; that of another operator may say more than what
    # its kernel is made of
    own = "" if operator is None or operator.startswith("aten::") or " " in operator else operator
    _, _, specific, generic = tables()
    for text, phrases in ((name, specific), (kernel, specific), (own, specific), (kernel, generic)):
        if found := _told(phrases, text):
            return found
    return "other"


def _generated(name: str) -> str:
    """Inductor names a template's kernel by the template; its other kernels are fused from several operators."""
    of_template = set(name.split("_")) if name.startswith("triton_tem_") else set()
    if of_template & _PRODUCTS:
        return "matmul"
    if of_template & {"attention", "flex"}:
        return "attention"
    return "convolution" if "convolution" in of_template else "fused"
