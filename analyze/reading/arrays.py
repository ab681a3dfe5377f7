"""The containers that columns are made of; imported by decoder processes, so with nothing but the standard library."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple


class Interned(defaultdict[Any, int]):
    """Value -> code, numbered in order of appearance."""

    def __init__(self, values: Iterable[Any] = ()) -> None:
        distinct = dict.fromkeys(values)
        super().__init__(None, zip(distinct, range(len(distinct)), strict=True))
        self.default_factory = self.__len__

    def __reduce__(self) -> tuple[type[Interned], tuple[list[Any]]]:
        return Interned, (list(self),)


class Group(dict[str, "array[int]"]):
    """Arrays of 64-bit integers by column."""

    def __missing__(self, name: str) -> array[int]:
        values = self[name] = array("q")
        return values


class Half(NamedTuple):
    """The begin (``B``) or the end (``E``) of a span that is written as two events, with its place in the file."""

    start_ns: int
    offset: int
    number: int
    ph: str
    cat: str | None
    name: Any
    pid: Any
    tid: Any
    args: bytes
