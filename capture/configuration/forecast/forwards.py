"""A point's forwards and their least cost in closed form, without torch: the base of predicted memory and time.

Matrix products read their weights and inputs once and write their outputs once, attention is fused (flash), and all
other operators are free. So these are the least FLOPs and DRAM bytes that a decoder needs.
"""

from collections import Counter
from collections.abc import Sequence

import msgspec

from ridgeline.capture.configuration.point import ITEM_BYTES, Point
from ridgeline.capture.configuration.presets import shape_of
from ridgeline.capture.configuration.shape import Shape
from ridgeline.capture.decoder.sparsity import kept_pairs
from ridgeline.capture.steps import Kind, Step, step_groups

SCALE_BYTES = 4
"""Bytes of the float32 scale of an 8-bit layer's output."""


class Forward(msgspec.Struct, frozen=True, kw_only=True):
    """`count` equal forwards, with sizes per sequence.

    `query` positions are forwarded and attend to `context` positions, in `pairs` of a query and a key. Of the forwarded
    positions, `logits` have logits and `confident` of those have a confidence.
    """

    kind: Kind
    query: int
    context: int
    pairs: int
    logits: int
    confident: int
    count: int = 1


def has_head(mode: str, kind: str, shape: Shape) -> bool:
    """Whether forwards of `kind` run the output projection.

    Prefills and commits of `dlm_block_causal` only write keys and values, so they do not run it. With shifted logits
    they do: their last logits are those of the next block's first token.
    """
    return shape.shifted or mode != "dlm_block_causal" or kind not in ("prefill", "commit")


def forwards(point: Point, steps: Sequence[Step] = ()) -> list[Forward]:
    """Return all forwards of a generation, equal ones as one, in the order in which they first run.

    Where confidence decides, every step is assumed to commit one token, as random weights make it. (By factor, a block
    takes one step less: its last two tokens are committed together.) A mode of one's own has the forwards of `steps`,
    the least that such steps need: causal attention, and logits of the committed tokens only.
    """
    if not point.built_in:
        return _least(steps)
    shape = shape_of(point)
    counts: Counter[tuple[Kind, int, int]] = Counter()
    for group in step_groups(point):
        if group.tokens:
            counts[group.kind, group.query, group.context] += len(group.tokens)
    distinct = []
    for (kind, query, context), count in counts.items():
        if point.mode == "ar":
            logits, confident = 1, 0
        elif kind in ("prefill", "commit"):
            logits, confident = int(has_head(point.mode, kind, shape)), 0
        else:
            # Modes without a cache compute confidence for every position, the others for the block only.
            logits, confident = query, query if kind == "denoise" else point.block or 0
        pairs = _prefill_pairs(point) if kind == "prefill" else query * context
        if kind == "denoise" and point.window is not None:
            pairs = kept_pairs(query, point.window)
        distinct.append(
            Forward(
                kind=kind, query=query, context=context, pairs=pairs, logits=logits, confident=confident, count=count
            )
        )
    return distinct


def _least(steps: Sequence[Step]) -> list[Forward]:
    """Return the least forwards of steps of which only the lengths and the committed tokens are known."""
    sizes = Counter((step.kind, step.query or 0, step.context or 0, step.tokens) for step in steps)
    return [
        Forward(
            kind=kind,
            query=query,
            context=context,
            # The queries are the last positions, and each attends to those before it and to itself.
            pairs=query * context - query * (query - 1) // 2,
            logits=min(query, 1 if tokens is None else tokens),
            confident=0,
            count=count,
        )
        for (kind, query, context, tokens), count in sizes.items()
    ]


def flops(forward: Forward, point: Point) -> int:
    """Return the FLOPs of one forward over all sequences; a multiply-add is 2."""
    shape = shape_of(point)
    attention = 4 * forward.pairs * shape.heads * shape.head_dim * shape.layers
    head = 2 * forward.logits * shape.embedding_parameters
    return linear_flops(forward, point) + point.sequences * (attention + head)


def linear_flops(forward: Forward, point: Point) -> int:
    """Return the FLOPs of the layers' linear projections, which alone run at the precision of `point.linear`."""
    shape = shape_of(point)
    return point.sequences * 2 * forward.query * shape.layers * shape.layer_parameters


def weights_bytes(point: Point) -> int:
    """Return the bytes of all weights. An 8-bit projection has a byte per weight and a scale per output."""
    shape, item = shape_of(point), ITEM_BYTES[point.dtype]
    linear = shape.layers * shape.layer_parameters * item
    return shape.parameters * item - linear + shape.layers * _linear_bytes(shape, point)


def dram_bytes(forward: Forward, point: Point) -> int:
    """Return the bytes that one forward over all sequences must read from and write to DRAM."""
    shape, sequences = shape_of(point), point.sequences
    item = ITEM_BYTES[point.dtype]
    # Attention reads queries, keys and values and writes an output of the queries' size.
    attention = 2 * (forward.query * shape.heads + forward.context * shape.kv_heads) * shape.head_dim * item
    # Inputs and outputs of a layer's seven projections, per position. The inputs of 8-bit products have 8 bits.
    inputs = (5 * shape.hidden + shape.heads * shape.head_dim + shape.ffn) * (item if point.linear == "model" else 1)
    activations = inputs + _outputs(shape) * item
    layer = _linear_bytes(shape, point) + shape.bias_parameters * item
    layer += sequences * (forward.query * activations + attention)
    head = shape.embedding_parameters * bool(forward.logits)
    head += sequences * forward.logits * (shape.hidden + shape.vocabulary)
    embedding = sequences * forward.query * shape.hidden
    return shape.layers * layer + (head + embedding) * item


def _prefill_pairs(point: Point) -> int:
    """Return the pairs of query and key of a prefill: causal by token in `ar`, by block in `dlm_block_causal`."""
    prompt, block = point.prompt_tokens, 1 if point.mode == "ar" else point.block
    assert block is not None
    # Blocks are cut backwards from the prompt's end, so the first may be shorter than the others. The k-th whole block
    # attends to the short one and to k whole ones: block * (short + k * block) pairs.
    blocks, short = divmod(prompt, block)
    return short * short + block * blocks * short + block * block * blocks * (blocks + 1) // 2


def _linear_bytes(shape: Shape, point: Point) -> int:
    """Return the bytes of a layer's seven projections, with the scales of 8-bit ones."""
    if point.linear == "model":
        return shape.layer_parameters * ITEM_BYTES[point.dtype]
    return shape.layer_parameters + _outputs(shape) * SCALE_BYTES


def _outputs(shape: Shape) -> int:
    """Return the outputs of a layer's seven projections, in elements per position."""
    return 2 * shape.hidden + (shape.heads + 2 * shape.kv_heads) * shape.head_dim + 2 * shape.ffn
