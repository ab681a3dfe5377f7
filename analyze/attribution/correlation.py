"""The launches of traces without correlation ids, as Kineto wrote them on ROCm until 2023.

There the number that ties an activity to its launch stands in the ``External id`` of both, where other writers put the
number of the operator.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ridgeline.analyze.attribution.id_lookup import match_first
from ridgeline.analyze.attribution.spans import ROOT, Integers, take

LEAST_SHARE = 0.5
"""``External id`` counts as the number of the launch only if at least this share of the matched launches fits."""


def correlated(
    device: pl.DataFrame, launches: pl.DataFrame, operators: pl.DataFrame, names: Sequence[str]
) -> tuple[pl.DataFrame, pl.DataFrame, tuple[int, int]]:
    """Return activities and launches with correlation ids; the number of activities joined, and of those that misfit.

    No activity has a correlation id. ``launches`` has ``external_id`` and ``kernel``, the code of the name that its
    arguments give to the kernel or ``ROOT``; these columns are not returned. An activity misfits if the launch with its
    id began after it or launched a kernel of another name. If no launch has an id of its own, nothing changes.
    """
    plain = launches.drop("external_id", "kernel")
    has_ids = launches["correlation"].null_count() == len(launches) > launches["external_id"].null_count()
    if not has_ids or _name_operators(launches, operators):
        return device, plain, (0, 0)
    launch = match_first(device, launches, "external_id").row
    fits = take(launches["start_ns"].to_numpy(), launch) <= device["start_ns"].to_numpy()
    fits &= _same_kernel(device["name"].to_numpy(), take(launches["kernel"].to_numpy(), launch), names)
    matched = launch != ROOT
    joined = int((fits & matched).sum())
    if joined < LEAST_SHARE * matched.sum():
        fits[:] = False
        joined = 0
    # the id is no operator's, also where it is no launch's
    device = device.with_columns(
        correlation=pl.when(pl.Series(fits & matched)).then("external_id"),
        external_id=pl.lit(None, dtype=pl.Int64),
    )
    return device, plain.with_columns(correlation=launches["external_id"]), (joined, int(matched.sum()) - joined)


def _name_operators(launches: pl.DataFrame, operators: pl.DataFrame) -> bool:
    """Return whether most launches lie in the operator that their ``External id`` names: then it is the operator's."""
    named = match_first(launches, operators, "external_id").row
    start_ns = launches["start_ns"].to_numpy()
    begin_ns = take(operators["start_ns"].to_numpy(), named)
    end_ns = begin_ns + take(operators["duration_ns"].to_numpy(), named, 0)
    same_thread = take(operators["thread"].to_numpy(), named) == launches["thread"].to_numpy()
    inside = (named != ROOT) & (begin_ns <= start_ns) & (start_ns <= end_ns) & same_thread
    return bool(2 * inside.sum() > launches["external_id"].count())


def _same_kernel(name: Integers, launched: Integers, names: Sequence[str]) -> NDArray[np.bool_]:
    """True where a launch's arguments give its kernel the activity's name, or none that can be compared."""
    pairs, pair_of = np.unique(np.stack([name, launched], axis=1), axis=0, return_inverse=True)
    same = np.array([code == ROOT or _alike(names[own], names[code]) for own, code in pairs.tolist()], dtype=bool)
    return np.asarray(same[pair_of.reshape(-1)])


def _alike(name: str, launched: str) -> bool:
    """Return whether two names may be of one kernel: a mangled name cannot be compared with a plain one."""
    if name.startswith("_Z") != launched.startswith("_Z"):
        return True
    own, other = (text.removesuffix(" [clone .kd]").removesuffix(".kd").strip() for text in (name, launched))
    return own.startswith(other) or other.startswith(own)
