"""Schemas of PyTorch's ``aten`` operators, from a table, so that a call is matched without PyTorch.

``schemas.txt`` has a line for each overload: its traits, and the schema as PyTorch prints it. Overloads of an operator
stand in PyTorch's order. :mod:`ridgeline.analyze.pricing.make_schemas` writes the table (``make schemas``) from the
releases that its first line names; where releases differ, the table has the newest release's schema first.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from functools import cache, cached_property
from itertools import islice, takewhile
from pathlib import Path

import msgspec

TABLE = Path(__file__).with_name("schemas.txt")
NAMESPACE = "aten::"
TRAITS = {"kernel": "k", "composite": "c", "meta": "m", "pointwise": "p", "inplace_view": "v"}
"""Traits of an overload and their letters in the table.

``kernel``: the dispatcher has an implementation. ``composite``: it only calls others (``CompositeImplicitAutograd``).
``meta``: it runs on tensors without data, or what it calls may. ``pointwise`` and ``inplace_view`` are PyTorch's tags.
"""
NEVER_CALLED = ("aten::from_file", "aten::set_data", "aten::_add_batch_dim", "aten::_remove_batch_dim",
                 "aten::matrix_power", "aten::linalg_matrix_power", "aten::unfold_backward", "aten::round.decimals",
                 "aten::special_round")  # fmt: skip
"""Prefixes of operators that make files, make one tensor another or enter levels of vmap, and of those that take as
many steps as a number says, until the time limit. Operators that crash are not listed, since a crash costs only their
own price (:mod:`ridgeline.analyze.pricing.pricer`)."""
_UNROLLED = frozenset({"aten::lstm", "aten::gru", "aten::rnn_tanh", "aten::rnn_relu"})
"""Operators that take a step for each element along a dimension."""
_KINDS = {"SymInt": "int", "ScalarType": "int", "MemoryFormat": "int", "Layout": "int"}
"""Types that PyTorch gives a name of their own in text only."""
_ALIAS = re.compile(r"\([\w|*]+(!)?(?: -> [\w|*]+)?\)")
_LENGTH = re.compile(r"\[\d+\]")


class Argument(msgspec.Struct, frozen=True):
    """An argument of an overload. ``kind`` is its type as in the table, without aliases and lengths: ``int[]?``."""

    name: str
    kind: str
    has_default: bool
    """True if it has a default that is not None."""
    is_written: bool
    is_out: bool

    @property
    def is_optional(self) -> bool:
        """True if None, or a list with None, can be passed."""
        return "?" in self.kind


class Schema(msgspec.Struct, frozen=True, dict=True):
    """An overload of an operator."""

    full_name: str
    """With namespace and overload, as ``aten::add.Tensor``."""
    traits: str
    arguments: tuple[Argument, ...]
    returns: tuple[str, ...]
    """Types with their aliases, as in the table: ``Tensor(a!)``."""

    @cached_property
    def needed(self) -> int:
        """The number of arguments up to the last that must be passed."""
        return max((i + 1 for i, a in enumerate(self.arguments) if not a.has_default and not a.is_optional), default=0)

    @cached_property
    def is_view(self) -> bool:
        """True if the results only alias arguments, or only an argument's shape changes in place."""
        aliases = [_ALIAS.search(kind) for kind in self.returns]
        return "v" in self.traits or (bool(aliases) and all(alias and not alias[1] for alias in aliases))

    @cached_property
    def is_composite(self) -> bool:
        """True if it only calls other operators."""
        return TRAITS["composite"] in self.traits

    @cached_property
    def asks_pytorch(self) -> bool:
        """True if PyTorch may have results for which no rule of our own stands. Composite operators cost nothing."""
        has_answer = self.may_run and TRAITS["meta"] in self.traits
        return has_answer and not self.is_composite and not self.out_names

    @cached_property
    def out_names(self) -> frozenset[str]:
        """The names of ``out`` arguments."""
        return frozenset(argument.name for argument in self.arguments if argument.is_out)

    @cached_property
    def may_run(self) -> bool:
        """True if it has an implementation that may be called."""
        return TRAITS["kernel"] in self.traits and not self.full_name.startswith(NEVER_CALLED)

    @cached_property
    def takes_steps(self) -> bool:
        """True if a number may say how many results it makes, or how many steps it takes."""
        # of lists there are as many results as tensors
        from_number = self.returns_list and all(argument.kind != "Tensor[]" for argument in self.arguments)
        return from_number or self.full_name.partition(".")[0] in _UNROLLED

    @cached_property
    def returns_list(self) -> bool:
        """True if a result is a list."""
        return any("[" in kind for kind in self.returns)


@cache
def schemas(operator: str) -> tuple[Schema, ...]:
    """Return the overloads of an operator, named without namespace and overload; none if the table lacks it."""
    lines = _lines()
    first = bisect_left(lines, operator, key=_operator)
    return tuple(map(_parse, takewhile(lambda line: _operator(line) == operator, islice(lines, first, None))))


@cache
def _lines() -> list[str]:
    """The lines of the table, sorted by operator. Only the lines of an operator that occurs are parsed."""
    return TABLE.read_text().splitlines()[1:]


def _operator(line: str) -> str:
    return line[line.index(" ") + 1 : line.index("(")].partition(".")[0]


def _parse(line: str) -> Schema:
    """Return the schema of a line such as ``kp add.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor``."""
    traits, _, text = line.partition(" ")
    name, _, rest = text.partition("(")
    arguments, _, returns = rest.rpartition(" -> ")
    parsed = []
    is_keyword = False
    for part in _split(arguments[:-1]):
        if part in ("*", "..."):  # what follows is named; any number of further arguments
            is_keyword = True
            continue
        parsed.append(_argument(part, is_keyword=is_keyword))
    inner = returns[1:-1] if returns.startswith("(") else returns
    return Schema(f"{NAMESPACE}{name}", traits, tuple(parsed), tuple(_split(inner)))


@cache
def _argument(text: str, *, is_keyword: bool) -> Argument:
    """Return the argument of text such as ``Scalar alpha=1``."""
    declared, _, default = text.partition("=")
    type_, _, name = declared.rpartition(" ")
    alias = _ALIAS.search(type_)
    is_written = alias is not None and alias[1] is not None
    kind = _LENGTH.sub("[]", _ALIAS.sub("", type_))
    base = re.match(r"\w*", kind)
    kind = _KINDS.get(base[0], base[0]) + kind[base.end() :] if base else kind
    return Argument(name, kind, default not in ("", "None"), is_written, is_keyword and is_written)


def _split(text: str) -> list[str]:
    """Split at the commas that stand in no brackets."""
    parts: list[str] = []
    depth = 0
    for part in text.split(", ") if text else []:
        if depth:
            parts[-1] += f", {part}"
        else:
            parts.append(part)
        depth += part.count("(") + part.count("[") - part.count(")") - part.count("]")
    return parts
