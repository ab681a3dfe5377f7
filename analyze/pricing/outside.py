"""Pricing rules from outside the package: a Python file that ``RIDGELINE_RULES`` names, and installed packages.

A package declares a module of rules as an entry point of the group ``ridgeline.pricing_rules``. A file or module of
rules has a list ``RULES`` of :class:`ridgeline.rules.Rule` and :class:`ridgeline.rules.EngineRule`, a dictionary
``FAMILIES`` from operators or kernels to families, or both. Its rules come before Ridgeline's own, those of a file
before those of packages.

The warehouse stores the source of every rule from outside beside its prices, so that a changed rule prices anew.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib import metadata, util
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import msgspec

from ridgeline.analyze.errors import AnalyzeError

if TYPE_CHECKING:
    from ridgeline.analyze.pricing.rules.rule import EngineRule, Rule

VARIABLE = "RIDGELINE_RULES"
"""The environment variable that names a file of rules; child processes inherit it."""
GROUP = "ridgeline.pricing_rules"
FAMILIES = frozenset({
    "matmul", "attention", "convolution", "normalization", "rotary", "softmax", "pointwise", "reduction", "gather",
    "copy", "embedding", "sampling", "quantization", "recurrent", "optimizer", "fused", "memset", "memcpy",
    "communication", "other",
})  # fmt: skip
"""The families of operators, as the warehouse documents them."""


class RulesError(AnalyzeError):
    """A file or package of pricing rules cannot be used."""


class Outside(msgspec.Struct, frozen=True, eq=False):
    """Rules by operator, families by operator or kernel, and the source of each by the same names."""

    rules: dict[str, Rule | EngineRule] = msgspec.field(default_factory=dict)
    families: dict[str, str] = msgspec.field(default_factory=dict)
    sources: dict[str, str] = msgspec.field(default_factory=dict)
    """The name of a file or module, and the first digits of the SHA-256 of its text."""


@cache
def outside() -> Outside:
    """Return the rules from outside, as of the first call or of the last :func:`reload`.

    Raises :class:`RulesError` if one of their sources cannot be used.
    """
    found = Outside()
    for point in metadata.entry_points(group=GROUP) if _is_declared() else ():
        _add(found, point.value, point.load)
    if file := os.environ.get(VARIABLE):
        _add(found, file, lambda: _executed(Path(file)))
    return found


def reload() -> Outside:
    """Read the rules from outside anew and return them. A command calls this once, before it prices anything."""
    outside.cache_clear()
    return outside()


def named(operator: str) -> str:
    """Return the name of an operator in rules: without overload, and of ``aten`` without a trailing underscore.

    >>> named("aten::add_.Tensor"), named("mine::add_.default")
    ('aten::add', 'mine::add_')
    """
    name = operator.partition(".")[0]
    return (name.rstrip("_") or name) if name.startswith("aten::") else name


def source(operator: str) -> str | None:
    """Return the source of an operator's rule or family; None if Ridgeline's own apply."""
    return outside().sources.get(named(operator))


def _is_declared() -> bool:
    """Whether an installed package names the group; importlib, which parses all files, takes three times as long."""
    return any(_declares(folder, Path(folder).stat().st_mtime_ns) for folder in filter(os.path.isdir, sys.path))


@cache
def _declares(folder: str, _mtime_ns: int) -> bool:
    """Whether a package installed in ``folder`` names the group; an installation changes the folder's time."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith((".dist-info", ".egg-info")):
                with suppress(OSError):
                    if GROUP.encode() in Path(entry.path, "entry_points.txt").read_bytes():
                        return True
    return False


def _executed(path: Path) -> ModuleType:
    """Return the module that a Python file makes."""
    spec = util.spec_from_file_location(f"ridgeline_rules_of_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ValueError("expected a Python file (.py)")
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _add(found: Outside, name: str, load: Callable[[], ModuleType]) -> None:
    """Add the rules and families of a module. Raises :class:`RulesError`."""
    from ridgeline.analyze.pricing.rules.rule import EngineRule, Rule  # the package of the rules reads this module

    try:
        module = load()
        digest = hashlib.sha256(Path(str(module.__file__)).read_bytes()).hexdigest()[:12]
        rules, families = getattr(module, "RULES", ()), getattr(module, "FAMILIES", {})
        if not (rules or families):
            raise ValueError("expected a list RULES, a dictionary FAMILIES, or both")
        if wrong := [rule for rule in rules if not isinstance(rule, Rule | EngineRule)]:
            raise TypeError(f"expected a Rule or an EngineRule in RULES, found {wrong[0]!r}")
        if wrong := [family for family in families.values() if family not in FAMILIES]:
            raise ValueError(f"found the family {wrong[0]!r}, expected one of {', '.join(sorted(FAMILIES))}")
    except (Exception, SystemExit) as e:  # the file is a user's program
        remedy = "'Add a pricing rule' in analyze/README.md shows one"
        raise RulesError(f"{name}: cannot be used as pricing rules: {type(e).__name__}: {e}: {remedy}") from None
    # names of aten's operators may be given without the namespace, as in Ridgeline's own rules
    of_rules = {
        named(operator if "::" in operator or isinstance(rule, EngineRule) else f"aten::{operator}"): rule
        for rule in rules
        for operator in rule.operators
    }
    found.rules.update(of_rules)
    found.families.update(families)
    found.sources.update(dict.fromkeys([*of_rules, *families], f"{Path(name).name} {digest}"))
