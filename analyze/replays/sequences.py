"""A trace's activities as sequences of names in the order of their launches: the steps of a twin, the replays of a run.

torch 2.14 and later write the graph and the node of each replayed activity. Nodes are numbered in the order in which
the capture launched them, and they are the same in every replay. So a graph's activities are put in the order of their
nodes, and a replay that lacks one of its graph's nodes has a gap there: all replays of a graph are one sequence,
however its branches overlap in time. That holds only where each node has one name in all replays, which is checked.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from ridgeline.analyze.attribution.labels import Label
from ridgeline.analyze.attribution.spans import ROOT, Int64, take
from ridgeline.analyze.replays.teaching import Annotated, filled


class Step(NamedTuple):
    """The activities of a step in order: their positions in the frame, and their names as codes."""

    label: Label | None
    rows: Int64
    names: Int64


class Piece(NamedTuple):
    """The activities of one graph launch, or those that were launched one by one between two graph launches."""

    rows: Int64
    """Positions in the frame; ``ROOT`` for a node that this replay of the graph lacks."""
    names: Int64
    is_replay: bool


def comparable(run: Annotated, twin: Annotated) -> tuple[Int64, Int64]:
    """Return for each side the code of each activity's name, equal on both sides where the names are.

    The place of a copy's memory is not always known to a graph, so only its kind counts: ``Memcpy DtoD``.
    """
    tables = [
        [name.partition(" (")[0] if name.startswith(("Memcpy ", "Memset ")) else name for name in side.trace.names]
        for side in (run, twin)
    ]
    numbers = {name: number for number, name in enumerate(sorted({*tables[0], *tables[1]}))}
    of_run, of_twin = (
        take(np.array([numbers[name] for name in table], np.int64), filled(side.activities["name"]))
        for side, table in zip((run, twin), tables, strict=True)
    )
    return of_run, of_twin


def steps(side: Annotated, codes: Int64) -> tuple[Step, list[Step]]:
    """Return the whole trace as one step without a label, and its labelled steps in order of the first launch."""
    ordered = _in_order(side, codes)
    labelled = ordered.filter(pl.col("step_label").is_not_null())
    groups = labelled.partition_by("step_label", maintain_order=True) if len(labelled) else []
    return _step(None, ordered), [_step(side.steps.get(group["step_label"][0]), group) for group in groups]


def replayed_steps(side: Annotated, codes: Int64, *, by_node: bool) -> list[tuple[Label | None, list[Piece]]]:
    """Return the pieces of each step with a replay; those outside of any step make one without a label.

    With ``by_node``, the activities of a graph are in the order of its nodes, where the trace has them.
    """
    ordered = _in_order(side, codes).filter(pl.col("replay").any().over("step_label"))
    # a new piece starts with each graph launch, and with the first launch after it
    ordered = ordered.with_columns(piece=pl.struct("replay", "launched_by").rle_id().over("step_label"))
    nodes = _nodes(ordered) if by_node else {}
    groups = ordered.partition_by("step_label", maintain_order=True) if len(ordered) else []
    return [
        (
            side.steps.get(group["step_label"][0]),
            [_piece(piece, nodes) for piece in group.partition_by("piece", maintain_order=True)],
        )
        for group in groups
    ]


def _in_order(side: Annotated, codes: Int64) -> pl.DataFrame:
    """Return the activities in the order of their launches; those of one launch in the order in which they ran."""
    launch_ns = pl.coalesce("launch_ns", "start_ns")
    launched_by = pl.when("replay").then(pl.coalesce("launch", pl.col("correlation") + len(side.trace.launches)))
    return (
        side.activities.with_columns(
            at=pl.int_range(pl.len(), dtype=pl.Int64),
            code=pl.Series(codes, dtype=pl.Int64),
            launched_by=launched_by,
        )
        # a graph whose launch was not recorded stays together
        .with_columns(launched_ns=pl.when("replay").then(launch_ns.min().over("launched_by")).otherwise(launch_ns))
        .sort("launched_ns", "launched_by", "start_ns", "device", "stream", "code", "duration_ns", "at")
        .with_columns(
            graph=pl.when(pl.col("graph_node_id").is_not_null()).then(pl.struct("rank", "graph_id")).rank("dense")
        )
        .select("at", "code", "step_label", "launched_by", "replay", "graph", "graph_node_id")
    )


def _step(label: Label | None, ordered: pl.DataFrame) -> Step:
    return Step(label, ordered["at"].to_numpy(), ordered["code"].to_numpy())


def _nodes(ordered: pl.DataFrame) -> dict[int, tuple[Int64, Int64]]:
    """Return by graph its nodes and their names, of each graph whose nodes have one name and run once in a replay."""
    replayed = ordered.filter(pl.col("replay") & pl.col("graph").is_not_null())
    repeated = replayed.select("graph", is_repeated=pl.struct("step_label", "piece", "graph_node_id").is_duplicated())
    nodes = replayed.group_by("graph", "graph_node_id").agg(pl.col("code").n_unique().alias("names"), pl.first("code"))
    unsure = {*repeated.filter("is_repeated")["graph"], *nodes.filter(pl.col("names") > 1)["graph"]}
    sure = nodes.filter(~pl.col("graph").is_in(unsure)).sort("graph", "graph_node_id")
    by_graph = sure.partition_by("graph", maintain_order=True) if len(sure) else []
    return {nodes["graph"][0]: (nodes["graph_node_id"].to_numpy(), nodes["code"].to_numpy()) for nodes in by_graph}


def _piece(piece: pl.DataFrame, nodes: dict[int, tuple[Int64, Int64]]) -> Piece:
    rows, is_replay = piece["at"].to_numpy(), bool(piece["replay"][0])
    graph = piece["graph"][0] if is_replay and piece["graph"].n_unique() == 1 else None
    if graph not in nodes:
        return Piece(rows, piece["code"].to_numpy(), is_replay)
    numbers, names = nodes[graph]
    of_node = np.full(len(numbers), ROOT, dtype=np.int64)
    of_node[np.searchsorted(numbers, piece["graph_node_id"].to_numpy())] = rows
    return Piece(of_node, names, is_replay)
