"""A point's forwards and their costs in closed form, without importing torch: for predictions of memory and time.

Matrix products read their weights and inputs and write their outputs once, attention is flash-like, and everything else
is free; so these are the least FLOPs and bytes a decoder needs.
"""

from collections.abc import Iterator

import msgspec

from ridgeline.capture.configuration.point import ITEM_BYTES, Point
from ridgeline.capture.configuration.presets import Shape, shape_of
from ridgeline.capture.decoder.sparsity import kept_pairs
from ridgeline.capture.steps import Kind

SCALE_BYTES = 4
"""The scale of an 8-bit layer's output, in float32."""


class Forward(msgspec.Struct, frozen=True, kw_only=True):
    """`count` like forwards, sized for each sequence.

    `query` positions are processed and `context` attended to, `pairs` of the two; `logits` of the positions have
    logits, and `confident` of these a confidence.
    """

    kind: Kind
    query: int
    context: int
    pairs: int
    logits: int
    confident: int
    count: int = 1


def has_head(mode: str, kind: str, shape: Shape) -> bool:
    """Whether forwards of a kind run the output projection.

    In `dlm_block_causal` what only writes keys and values does not, unless its last logits are the next block's first.
    """
    return shape.shifted or mode != "dlm_block_causal" or kind not in ("prefill", "commit")


def forwards(point: Point) -> list[Forward]:
    """All forwards of a generation, like ones together, not in order.

    Where confidence decides how many tokens a step commits, every step commits one, as random weights have it (by
    factor they need a step less for each block, whose last two tokens go together).
    """
    return list(_autoregressive(point) if point.mode == "ar" else _diffusion(point))


def flops(forward: Forward, point: Point) -> int:
    """FLOPs of one forward over all sequences."""
    shape = shape_of(point)
    attention = 4 * forward.pairs * shape.heads * shape.head_dim * shape.layers
    head = 2 * forward.logits * shape.embedding_parameters
    return linear_flops(forward, point) + point.sequences * (attention + head)


def linear_flops(forward: Forward, point: Point) -> int:
    """Of these, those of the layers' linear projections, which may be of a precision of their own."""
    shape = shape_of(point)
    return point.sequences * 2 * forward.query * shape.layers * shape.layer_parameters


def weights_bytes(point: Point) -> int:
    """Bytes of all weights. An 8-bit layer has a byte for each weight, and a scale for each output."""
    shape, item = shape_of(point), ITEM_BYTES[point.dtype]
    whole = shape.parameters * item
    if point.linear == "model":
        return whole
    return whole - shape.layers * (shape.layer_parameters * item - _linear_bytes(shape, point))


def dram_bytes(forward: Forward, point: Point) -> int:
    """Bytes one forward over all sequences must read and write."""
    shape, sequences = shape_of(point), point.sequences
    item = ITEM_BYTES[point.dtype]
    attended = 2 * (forward.query * shape.heads + forward.context * shape.kv_heads) * shape.head_dim * item
    layer = _linear_bytes(shape, point) + shape.bias_parameters * item
    layer += sequences * (forward.query * _product_bytes(shape, point) + attended)
    head = shape.embedding_parameters * bool(forward.logits)
    head += sequences * forward.logits * (shape.hidden + shape.vocabulary)
    return shape.layers * layer + (head + sequences * forward.query * shape.hidden) * item


def _linear_bytes(shape: Shape, point: Point) -> int:
    """Weights of a layer's seven projections, with their scales where they are of 8 bits."""
    if point.linear == "model":
        return shape.layer_parameters * ITEM_BYTES[point.dtype]
    return shape.layer_parameters + _outputs(shape) * SCALE_BYTES


def _product_bytes(shape: Shape, point: Point) -> int:
    """Inputs and outputs of a layer's seven products, in bytes a position; what 8-bit products read is of 8 bits."""
    item = ITEM_BYTES[point.dtype]
    inputs = 5 * shape.hidden + shape.heads * shape.head_dim + shape.ffn
    return inputs * (item if point.linear == "model" else 1) + _outputs(shape) * item


def _outputs(shape: Shape) -> int:
    """Outputs of a layer's seven projections, in elements a position."""
    return 2 * shape.hidden + (shape.heads + 2 * shape.kv_heads) * shape.head_dim + 2 * shape.ffn


def _autoregressive(point: Point) -> Iterator[Forward]:
    prompt = point.prompt_tokens
    pairs = prompt * (prompt + 1) // 2
    yield Forward(kind="prefill", query=prompt, context=prompt, pairs=pairs, logits=1, confident=0)
    for context in range(prompt + 1, point.length):
        yield Forward(kind="decode", query=1, context=context, pairs=context, logits=1, confident=0)


def _diffusion(point: Point) -> Iterator[Forward]:
    """Each block's first step, its others, and what else its mode does."""
    assert point.block is not None
    steps = (point.generated_tokens if point.steps is None else point.steps) // point.blocks
    length, block = point.length, point.block
    if point.mode == "dlm_full":
        pairs = None if point.window is None else kept_pairs(length, point.window)
        yield _whole("denoise", length, confident=length, count=steps * point.blocks, pairs=pairs)
    elif point.mode == "dlm_block_causal":
        yield from _block_causal(point, steps)
    else:
        for index in range(point.blocks):
            before = point.prompt_tokens + index * block
            if point.mode == "dlm_semi_ar":
                yield _whole("denoise", before + block, confident=before + block, count=steps)
                continue
            yield _whole("refresh", length, confident=block)
            query = length - before if point.mode == "dlm_block_prefix" else block
            yield from _local("reuse", query, length, logits=query, block=block, count=steps - 1)


def _block_causal(point: Point, steps: int) -> Iterator[Forward]:
    """A prefill, each block's steps, and one forward more for each block that another follows."""
    assert point.block is not None
    prompt, block = point.prompt_tokens, point.block
    blocks, first = divmod(prompt, block)  # Cut backwards from the prompt's end, so that the first may be shorter.
    pairs = first * first + block * blocks * first + block * block * blocks * (blocks + 1) // 2
    logits = int(has_head(point.mode, "prefill", shape_of(point)))
    yield Forward(kind="prefill", query=prompt, context=prompt, pairs=pairs, logits=logits, confident=0)
    for index in range(point.blocks):
        end = prompt + (index + 1) * block
        yield from _local("reuse", block, end, logits=block, block=block, count=steps)
        yield from _local("commit", block, end, logits=logits, block=0, count=int(index + 1 < point.blocks))


def _whole(kind: Kind, length: int, *, confident: int, count: int = 1, pairs: int | None = None) -> Forward:
    """Positions that all see each other, unless told how many `pairs` do, with logits for all."""
    return Forward(
        kind=kind,
        query=length,
        context=length,
        pairs=length * length if pairs is None else pairs,
        logits=length,
        confident=confident,
        count=count,
    )


def _local(kind: Kind, query: int, context: int, *, logits: int, block: int, count: int) -> Iterator[Forward]:
    """Positions that see a longer context; nothing where there are none of these."""
    if count:
        pairs = query * context
        yield Forward(kind=kind, query=query, context=context, pairs=pairs, logits=logits, confident=block, count=count)
