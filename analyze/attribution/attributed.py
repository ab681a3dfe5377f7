"""All that the events of one trace say of its device activities: operator, step label, module and moments of origin."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import polars as pl

from ridgeline.analyze.attribution.autograd import forward_operators, forward_partners
from ridgeline.analyze.attribution.labels import Label
from ridgeline.analyze.attribution.modules import Modules, add_modules
from ridgeline.analyze.attribution.operators import Tree, attribute, build_tree, parse_labels
from ridgeline.analyze.attribution.origins import Origins, find_origins
from ridgeline.analyze.attribution.spans import Int32
from ridgeline.analyze.reading.trace import Trace


class Attributed(NamedTuple):
    """The activities of a trace, and what their codes and the other tables are made from."""

    activities: pl.DataFrame
    """As :func:`ridgeline.analyze.attribution.operators.attribute` returns them, with ``module``."""
    modules: Modules
    labels: list[Label]
    """By name code."""
    tree: Tree
    parents: Int32
    """For each operator the row of the operator around it, or ``ROOT``."""
    partners: Int32
    """For each backward node the row of its forward operator, ``ROOT`` for all others."""
    origins: Origins


def attributed(
    trace: Trace,
    step: re.Pattern[str] | None = None,
    find: Callable[[Trace, Tree], pl.DataFrame] = attribute,
    share: Callable[[Origins], object] = lambda _: None,
) -> Attributed:
    """Return the activities that ``find`` makes of a trace, with modules; ``step`` is the pattern of ``--step``.

    ``share`` gets the origins before the modules are looked for.
    """
    labels = parse_labels(trace, step)
    tree = build_tree(trace, labels)
    activities = find(trace, tree)
    parents = tree.operator_parent()
    partners = forward_partners(trace)
    origins = find_origins(trace, tree, activities, forward_operators(trace, parents, partners))
    share(origins)
    activities, modules = add_modules(trace, labels, origins, activities)
    return Attributed(activities, modules, labels, tree, parents, partners, origins)
