"""Operators for the kernels of graph replays, learned from the traces of the graphs' capture.

The k-th launch of a capture is the k-th node of its graph, and a replay runs the nodes in that order. Where the
launches carry names (ROCm), a replay is aligned with a graph as a longest common subsequence of names; kernels that ran
in another order, on several streams, are then paired by name. Where they do not (CUDA), order and count decide: there
are as many kernels as launches, copies stand where copies stand, and the kernels' names do not contradict the operators
around the launches: a kernel of a matrix product under an operator that is none.

A graph serves a replay if ``AGREEMENT`` of the longer of both matches. Of the captures of several batches those of the
smallest batch that holds the step's are compared: engines pad a batch to the next one captured. The replays of a step
take the graphs of a capture in turn, which tells pieces of a model apart that are alike. A replay that fits several
graphs alike learns nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import polars as pl

from ridgeline.analyze.attribution.alignment import Pairs, align_names
from ridgeline.analyze.attribution.labels import NOTHING, Label
from ridgeline.analyze.attribution.spans import ROOT, Int64, take
from ridgeline.analyze.companions.capture_folder import Batch, CaptureFile
from ridgeline.analyze.errors import TraceError
from ridgeline.analyze.pricing.families import family
from ridgeline.analyze.pricing.stored_prices import Record
from ridgeline.analyze.reading.columns import Columns
from ridgeline.analyze.replays.captured import COPY, FILL, Capture, named_by, read_capture
from ridgeline.analyze.replays.kernel_names import FIRST_KERNEL, shared_codes
from ridgeline.analyze.replays.sequences import Piece, replayed_steps
from ridgeline.analyze.replays.teaching import Annotated, Partners, Pricing, filled, teach

AGREEMENT = 0.95
"""The share of the longer sequence that must match: graphs of one model for two batches may differ by little."""
_COPY_CODE, _FILL_CODE = range(FIRST_KERNEL)
_NAMELESS = -1
_TELLING = ("matmul", "attention", "normalization", "communication", "softmax", "convolution", "rotary")
"""Families that names of kernels tell."""
_UNKNOWN = -1
CONTRADICTED, FEWEST = 0.5, 16
"""An alignment by count is refused if the families of this share differ, of at least so many pairs that tell them.

Of aligned traces up to 0.3 differ; of the same traces shifted by one kernel, 0.5 to 1.
"""
# a graph of HIP may copy and fill by kernels of its own
_BY_KERNEL = (("rocclr_copyBuffer", _COPY_CODE), ("rocclr_fillBuffer", _FILL_CODE))
_NONE = np.zeros(0, dtype=np.int64)
_NO_PAIRS = Pairs(_NONE, _NONE)


_Step = tuple[Label, list[Piece]]
"""A step's label and its graph launches in order; those outside of any step have an empty label."""


class _Pieces(msgspec.Struct):
    """The graphs that one capture trace has for one batch, in order."""

    capture: Capture
    batch: Batch
    rows: list[Int64]
    """For each graph the positions of its launches among the capture's activities."""
    codes: list[Int64]
    """Their names as codes: of copies, of fills, then of kernels; ``_NAMELESS`` for a kernel without a name."""
    families: list[Int64]
    """The families of the operators around the launches: those of ``_TELLING`` first."""
    run_codes: Int64
    """The same codes for the run's names, and the families that these tell."""
    run_families: Int64
    _pairs: dict[tuple[int, bytes], Pairs] = msgspec.field(default_factory=dict)

    @property
    def is_named(self) -> bool:
        """True if every launch has the name of its kernel."""
        return all((codes != _NAMELESS).all() for codes in self.codes)

    def pairs(self, graph: int, replayed: Int64) -> Pairs:
        """Return positions in the graph and in the replay, given by the codes of its names, that match."""
        key = graph, replayed.tobytes()
        if key not in self._pairs:
            self._pairs[key] = self._aligned(graph, replayed)
        return self._pairs[key]

    def _aligned(self, graph: int, replayed: Int64) -> Pairs:
        captured, codes = self.codes[graph], self.run_codes[replayed]
        if (captured != _NAMELESS).all():
            return _by_name(captured, codes)
        if len(captured) != len(codes):
            return _NO_PAIRS
        families, told = self.families[graph], self.run_families[replayed]
        compared = (families != _UNKNOWN) & (told != _UNKNOWN) & (np.minimum(families, told) < len(_TELLING))
        if compared.sum() >= FEWEST and (families != told)[compared].mean() >= CONTRADICTED:
            return _NO_PAIRS
        at = np.flatnonzero(np.where(captured == _NAMELESS, codes >= FIRST_KERNEL, captured == codes))
        return Pairs(at, at)

    def counts(self, replayed: Int64) -> Int64:
        """Return how many nodes of each graph match, 0 where they are too few for the graph to serve the replay."""
        counts = np.zeros(len(self.codes), dtype=np.int64)
        for graph, codes in enumerate(self.codes):
            shorter, longer = sorted((len(codes), len(replayed)))
            if shorter >= AGREEMENT * longer:  # else no alignment reaches it
                matched = len(self.pairs(graph, replayed).first)
                counts[graph] = matched if matched >= AGREEMENT * longer else 0
        return counts


class _Choice(NamedTuple):
    """The graph that a replay is of, and the positions in both that match."""

    replay: Piece
    pieces: _Pieces
    graph: int
    pairs: Pairs


class _Refusal(NamedTuple):
    """Why a replay learned nothing: what was found, and what to do, which is one of a few sentences."""

    found: str
    remedy: str


class Learned(NamedTuple):
    """The run, the prices of its signatures, and a line for each reason why replays learned nothing."""

    run: Annotated
    prices: dict[int, Record]
    messages: list[str]


def learn(
    run: Annotated, files: Sequence[CaptureFile], decode: Callable[[Path], list[Columns]], price: Pricing
) -> Learned:
    """Return the run with what its replays learn from the capture traces in ``files``.

    A capture trace that cannot be read is named in a message, unless it is the only one. Raises :class:`TraceError`.
    """
    # nodes are numbered as they were captured, unless the order in time matches better
    has_nodes = run.activities["graph_node_id"].count() > 0
    orders = [_steps(run, by_node=by_node) for by_node in ((True, False) if has_nodes else (False,))]
    captures, messages = _read(_needed(files, orders[0], run.trace.rank), decode, single=len(files) == 1)
    pieces = [each for capture in captures for each in _pieces(run, capture)]
    batches = {*(file.batch for file in files), *(each.batch for each in pieces)}
    attempts = [
        [choice for label, replays in steps for choice in _choose(label, replays, pieces, batches, run.trace.rank)]
        for steps in orders
    ]
    choices = max(attempts, key=_matched)
    prices: dict[int, Record] = {}
    for capture in captures:
        pairs = _partners(capture, choices)
        if len(pairs.rows):
            run, prices = teach(run, named_by(capture, run, pairs), pairs, price, "graph_capture", own_shares=True)
    if not prices:
        prices = price(run.trace, run.activities["signature"].drop_nulls().unique().sort().to_list())
    refusals = [choice for choice in choices if isinstance(choice, _Refusal)]
    for remedy in dict.fromkeys(refusal.remedy for refusal in refusals):
        found = [refusal.found for refusal in refusals if refusal.remedy == remedy]
        messages.append(f"{len(found):,} of {len(choices):,} graph replays learned no operators: {found[0]}: {remedy}")
    return Learned(run, prices, messages)


def _matched(choices: Sequence[_Choice | _Refusal]) -> int:
    return sum(len(choice.pairs.first) for choice in choices if isinstance(choice, _Choice))


def _steps(run: Annotated, *, by_node: bool) -> list[_Step]:
    """Return the steps with graph launches, in order."""
    steps = replayed_steps(run, filled(run.activities["name"]), by_node=by_node)
    return [(label or NOTHING, [piece for piece in pieces if piece.is_replay]) for label, pieces in steps]


# The captures of the right batch.


def _needed(files: Sequence[CaptureFile], steps: Sequence[_Step], rank: int) -> list[CaptureFile]:
    """Return the files that may be of the replays' graphs, by rank and batch as far as their names tell."""
    # an engine may record the capture of one rank alone: the others capture the same graphs
    own = [file for file in files if file.rank in (None, rank)] or list(files)
    batches = {file.batch for file in own}
    needed = {batch for label in {label for label, _ in steps} for batch in _holding(label, batches)}
    return [file for file in own if file.batch in needed]


def _holding(label: Label, batches: Iterable[Batch]) -> set[Batch]:
    """Return the batches that a step may have been padded to: for each mode the smallest that holds it.

    A batch is returned as well where its size or that of the step is unknown.
    """
    holding: set[Batch] = set()
    smallest: dict[str | None, int] = {}
    for batch, captured, size in sorted(((batch, *_sizes(label, batch)) for batch in batches), key=str):
        if captured is None or size is None:
            holding.add(batch)
        elif captured >= size:
            smallest[batch.mode] = min(captured, smallest.get(batch.mode, captured))
    return holding | {batch for batch in batches if _sizes(label, batch)[0] == smallest.get(batch.mode, _NAMELESS)}


def _sizes(label: Label, batch: Batch) -> tuple[int | None, int | None]:
    """Return the sizes of a captured batch and of a step, both in requests or in tokens as far as they are known."""
    if batch.requests is not None and label.requests is not None:
        return batch.requests, label.requests
    captured = batch.requests if batch.tokens is None else batch.tokens
    return captured, label.requests if label.query is None else label.query


def _read(
    files: Sequence[CaptureFile], decode: Callable[[Path], list[Columns]], *, single: bool
) -> tuple[list[Capture], list[str]]:
    """Return the captures in the files, and a line for each one that cannot be read."""
    captures, messages = [], []
    for file in files:
        try:
            captures.append(read_capture(decode(file.path), file))
        except TraceError as e:
            if single:
                raise
            messages.append(f"capture trace left out: {e}")
    return captures, messages


def _pieces(run: Annotated, capture: Capture) -> list[_Pieces]:
    """Return the graphs of a capture by batch."""
    used = run.activities.filter(pl.col("replay")).select("name", "category").unique().rows()
    activities, names = capture.teacher.activities, capture.teacher.trace.names
    kernel = take(filled(capture.teacher.trace.launches["kernel"]), filled(activities["launch"]))
    category = filled(activities["category"])
    captured = {names[code] for code in np.unique(kernel[kernel >= 0]).tolist()}
    code_of = shared_codes({run.trace.names[code] for code, _ in used}, captured)
    of_name = np.array([code_of.get(name, _NAMELESS) for name in names], dtype=np.int64)
    # of copies and fills a graph does not know the place in memory, so their kind is all that counts
    codes = np.select([category == COPY, category == FILL], [_COPY_CODE, _FILL_CODE], take(of_name, kernel))
    run_codes = np.full(len(run.trace.names), _NAMELESS)
    for name, kind in used:
        text = run.trace.names[name]
        special = {COPY: _COPY_CODE, FILL: _FILL_CODE}.get(kind)
        by_kernel = next((code for part, code in _BY_KERNEL if part in text), None)
        run_codes[name] = next(code for code in (special, by_kernel, code_of[text]) if code is not None)
    families, run_families = _families(run, capture, [name for name, _ in used])
    pieces = []
    for batch in dict.fromkeys(graph.batch for graph in capture.graphs):
        rows = [graph.rows for graph in capture.graphs if graph.batch == batch]
        own_codes, own_families = ([values[each] for each in rows] for values in (codes, families))
        pieces.append(_Pieces(capture, batch, rows, own_codes, own_families, run_codes, run_families))
    return pieces


def _families(run: Annotated, capture: Capture, used: Iterable[int]) -> tuple[Int64, Int64]:
    """Return the family of the operator around each launch of a capture, and those that the run's names tell."""
    numbers = {name: number for number, name in enumerate(_TELLING)} | {"other": _UNKNOWN, "fused": _UNKNOWN}
    trace = capture.teacher.trace
    calls = take(filled(trace.operators["name"]), filled(capture.teacher.activities["operator"]))
    of_name = np.full(len(trace.names), _UNKNOWN)
    for code in np.unique(calls[calls != ROOT]).tolist():
        of_name[code] = numbers.setdefault(family(trace.names[code], "", "kernel"), len(numbers))
    told = np.full(len(run.trace.names), _UNKNOWN)
    for code in used:
        told[code] = numbers.setdefault(family(None, run.trace.names[code], "kernel"), len(numbers))
    return take(of_name, calls), told


# The graph that each replay is of.


def _by_name(captured: Int64, replayed: Int64) -> Pairs:
    """Return matching positions of a captured graph and of a replay, both given as codes of names."""
    pairs = align_names(captured, replayed)
    # what is left of a name ran in another order: pair it in turn, if there is as much of it on both sides
    sides = [
        pl.DataFrame({"at": at, "code": codes[at]}).with_columns(
            turn=pl.int_range(pl.len()).over("code"), count=pl.len().over("code")
        )
        for codes, matched in ((captured, pairs.first), (replayed, pairs.second))
        for at in [np.setdiff1d(np.arange(len(codes)), matched)]
    ]
    left = sides[0].join(sides[1], on=["code", "turn", "count"], how="inner")
    return Pairs(
        np.concatenate([pairs.first, left["at"].to_numpy()]),
        np.concatenate([pairs.second, left["at_right"].to_numpy()]),
    )


def _choose(
    label: Label, replays: Sequence[Piece], pieces: Sequence[_Pieces], batches: Iterable[Batch], rank: int
) -> list[_Choice | _Refusal]:
    """Return the graph of each replay of a step, or why there is none; ``batches`` are all that were captured."""
    holding = _holding(label, {each.batch for each in pieces})
    candidates = [each for each in pieces if each.batch in holding]
    if not candidates:
        return [_no_batch(label, batches)] * len(replays)
    counts = [np.stack([each.counts(replay.names) for replay in replays]) for each in candidates]
    graphs = [_in_turn(count, named=each.is_named) for each, count in zip(candidates, counts, strict=True)]
    choices: list[_Choice | _Refusal] = []
    for number, replay in enumerate(replays):
        # most nodes first, then the mode that the step names, then the run's own rank
        order = [
            (int(count[number].max()), _has_mode(each.batch, label), each.capture.file.rank == rank)
            for each, count in zip(candidates, counts, strict=True)
        ]
        best = [i for i, key in enumerate(order) if key == max(order)]
        chosen, graph = candidates[best[0]], int(graphs[best[0]][number])
        if not max(order)[0]:
            choices.append(_no_match(replay, candidates))
        elif graph < 0 or len({_identity(candidates[i]) for i in best}) > 1:
            choices.append(_fits_alike([candidates[i] for i in best]))
        else:
            choices.append(_Choice(replay, chosen, graph, chosen.pairs(graph, replay.names)))
    return choices


def _has_mode(batch: Batch, label: Label) -> bool:
    return (batch.mode or "").lower() == label.kind


def _identity(pieces: _Pieces) -> object:
    """Return the batch, or of an unknown batch the capture: two captures of one batch teach the same."""
    sized = pieces.batch.requests is not None or pieces.batch.tokens is not None
    return pieces.batch if sized else id(pieces)


def _in_turn(counts: Int64, *, named: bool) -> Int64:
    """Return the graph of each replay, -1 where it is unknown, for the matches of n replays with p graphs.

    Replays follow each other in the order of the capture, round after round, and one that is out of turn is of another
    graph. Where several first graphs are as good, it is the first of the capture if the replays are whole rounds. If
    names tell the graphs apart, their order does not matter.
    """
    graphs = np.full(len(counts), _NAMELESS)
    rows = np.flatnonzero(counts.any(axis=1))
    number = counts.shape[1]
    if named and ((counts[rows] > 0).sum(axis=1) == 1).all():
        graphs[rows] = counts[rows].argmax(axis=1)
        return graphs
    rounds: dict[tuple[int, ...], int] = {}
    for first in range(number):
        turn, chosen, matched = first, [], 0
        for fits in counts[rows].tolist():
            chosen.append(turn if fits[turn] else _NAMELESS)
            matched += fits[turn]
            turn = (turn + 1) % number if fits[turn] else turn
        rounds.setdefault(tuple(chosen), matched)
    best = [chosen for chosen, matched in rounds.items() if matched == max(rounds.values())]
    if len(best) == 1 or (best[0][:1] == (0,) and len(rows) % number == 0):
        graphs[rows] = best[0]
    return graphs


def _no_batch(label: Label, batches: Iterable[Batch]) -> _Refusal:
    sizes = sorted({size for batch in batches for size, _ in [_sizes(label, batch)] if size is not None})
    size = f"{label.query} tokens" if label.requests is None else f"{label.requests} requests"
    captured = f"captured are batches of {', '.join(map(str, sizes))}" if sizes else "nothing was captured"
    return _Refusal(f"the step has {size}, {captured}", "record the capture of that batch")


def _no_match(replay: Piece, candidates: Sequence[_Pieces]) -> _Refusal:
    """Return a refusal that names the graph with the most matches."""
    matches = [
        (len(each.pairs(graph, replay.names).first), len(codes), each.capture.file.path.name)
        for each in candidates
        for graph, codes in enumerate(each.codes)
    ]
    matched, nodes, file = max(matches)
    return _Refusal(
        f"of {len(replay.names):,} kernels {matched:,} match the {nodes:,} launches of a graph ({file})",
        f"expected {AGREEMENT:.0%}: the capture is of another graph or batch, name the right one with --capture",
    )


def _fits_alike(candidates: Sequence[_Pieces]) -> _Refusal:
    files = dict.fromkeys(each.capture.file.path.name for each in candidates)
    found = f"several captured graphs fit alike, or out of turn ({', '.join(list(files)[:4])})"
    return _Refusal(found, "name the capture of the right batch with --capture")


def _partners(capture: Capture, choices: Sequence[_Choice | _Refusal]) -> Partners:
    """Return the activities of the replays of a capture's graphs, with the launches that are their partners."""
    pairs = [Partners(_NONE, _NONE, _NONE)]
    for number, choice in enumerate(choices):
        if isinstance(choice, _Choice) and choice.pieces.capture is capture:
            captured, replayed = choice.pairs
            rows = choice.replay.rows[replayed]
            captured, rows = captured[rows != ROOT], rows[rows != ROOT]  # a replay may lack nodes of its graph
            partners = choice.pieces.rows[choice.graph][captured]
            pairs.append(Partners(rows, partners, np.full(len(rows), number, dtype=np.int64)))
    return Partners(*(np.concatenate(column) for column in zip(*pairs, strict=True)))
