"""Launches of operators outside PyTorch, whose pricing rule says which arguments they read and write."""

from __future__ import annotations

from ridgeline.analyze.cache_model.launches.launch import Launch, Whole, read, write
from ridgeline.analyze.pricing import engines


def marks(operator: str) -> tuple[str, ...]:
    """How each argument of an operator moves: ``=`` is only written, ``+`` read and written, ``-`` moves in part.

    Other marks, and arguments beyond the marked ones, are read; no marks where no rule knows the operator.
    """
    rule = engines.find(operator)
    return tuple([name[0] for name in rule.arguments.split()]) if rule else ()


def engine(launch: Launch) -> Whole | None:
    """The operands by the rule's marks; None where no argument is written, or where one moves in part."""
    call = launch.call
    known = marks(call.operator)
    marked = [
        (tensor, known[argument] if argument < len(known) else "")
        for tensor, argument in zip(call.inputs, call.arguments, strict=False)
    ]
    of_tensors = {mark for _, mark in marked}
    if "-" in of_tensors or not of_tensors & {"=", "+"}:
        return None
    inputs = [read(tensor) for tensor, mark in marked if mark != "="]
    return Whole([*inputs, *(write(tensor) for tensor, mark in marked if mark in ("=", "+"))])
