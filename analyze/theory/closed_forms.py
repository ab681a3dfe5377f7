"""FLOPs and bytes of one forward of a decoder in closed form, part by part, in two conventions.

`as_authored` counts like the authors of arXiv 2510.04146, and reproduces their figures to the digit:

- Operators run one at a time: rotation, sums, activation and norms read their inputs and write their output. One
  operation an element; a norm reads two vectors of its width, a sum or product two inputs.
- Softmax moves nothing and takes one operation a score.
- Causal attention saves, for each key-value head, 2·hd·L(L-1)/2 of the first product, 2·L·hd(hd-1)/2 of the second and
  L(L-1)/2 of the softmax. With several query heads to a key-value head that saves too little, and the saving of the
  second product is along the wrong axis.
- The head is computed for the last token of a LLaMA and not at all for others; there is no sampling.

`corrected` counts the work that a decoder must do if it runs operators one at a time:

- Attention takes exactly the query-key pairs that may see each other.
- The head and the last norm are computed for the positions whose logits a mode asks for.
- A norm takes 4 operations an element and reads one weight, a rotation 3 and reads cosines and sines, an activation 4,
  a softmax 4 a score (the counts of `ridgeline.analyze.pricing`); softmax stays on the chip.
- Embedding rows are read and written. Sampling reads the logits it needs once. The most likely token costs nothing
  more; a confidence costs 3 operations a logit (subtract, exponentiate, add).

A real run may do more or less. Attention that takes a mask as an argument computes hidden pairs as well (twice the
FLOPs in a prefill by blocks). A compiler drops results that nobody reads (in forwards that only write keys and values,
all of the last layer but these).

In both conventions a product [m, k]×[k, n] takes 2·m·k·n FLOPs and p(mk + kn + mn) bytes. Attention is flash-like:
4·pairs·heads·hd FLOPs and 2p(q·heads + kv·key-value heads)·hd bytes a sequence. All sequences share one read of the
weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, get_args

import msgspec

from ridgeline.capture.configuration.shape import Shape

Convention = Literal["as_authored", "corrected"]
CONVENTIONS: tuple[Convention, ...] = get_args(Convention)

Part = Literal["projections", "head", "attention", "softmax", "norm", "rotary", "pointwise", "embedding", "sampling"]
"""The parts of a forward; each operation belongs to one part."""

Component = Literal[
    "linear", "head", "attention", "softmax", "norm", "rotary", "pointwise", "embedding", "sampling", "products", "all"
]
"""Predicted quantities: parts, and the sums of parts in `SUMS`."""

SUMS: Mapping[Component, frozenset[Part]] = {
    "linear": frozenset({"projections", "head"}),
    "products": frozenset({"projections", "head", "attention"}),
    "all": frozenset(get_args(Part)),
}
"""Components of several parts. The authors count the head as linear; `products` holds all matrix products."""


class Cost(msgspec.Struct, frozen=True):
    """Operations and bytes moved."""

    flops: int = 0
    bytes: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.flops + other.flops, self.bytes + other.bytes)

    def __mul__(self, times: int) -> Cost:
        return Cost(self.flops * times, self.bytes * times)


NOTHING = Cost()


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """One forward over `sequences` sequences, sized for each.

    `query` counts the processed positions, `context` the attended ones and `pairs` the query-key pairs that see each
    other. `logits` positions have logits; `sampled` of these are read to choose tokens, with a confidence if
    `confident`. With `causal` no position sees a later one.
    """

    query: int
    context: int
    pairs: int
    logits: int
    sampled: int = 0
    confident: bool = False
    causal: bool = False
    sequences: int = 1
    item_bytes: int = 2

    @property
    def tokens(self) -> int:
        """Positions of all sequences."""
        return self.query * self.sequences


def block_causal_pairs(length: int, block: int) -> int:
    """The pairs that see each other among `length` positions, cut into blocks from the end.

    >>> block_causal_pairs(5, 2)  # blocks of 1, 2 and 2 positions: 1·1 + 2·3 + 2·5
    17
    """
    # The first, shorter block sees itself; the i-th full block sees the first one and i full blocks.
    blocks, first = divmod(length, block)
    return first * first + block * (blocks * first + block * blocks * (blocks + 1) // 2)


def components(shape: Shape, work: Work, convention: Convention) -> dict[Component, Cost]:
    """The cost of each component that a convention has, in the order of `Component`."""
    parts = PARTS[convention](shape, work)
    costs: dict[Component, Cost] = {}
    for component in get_args(Component):
        members = SUMS.get(component, frozenset({component})) & parts.keys()
        if members:
            costs[component] = sum((parts[part] for part in members), NOTHING)
    return costs


def as_authored(shape: Shape, work: Work) -> dict[Part, Cost]:
    """The parts of a forward as the authors count them."""
    tokens, item_bytes = work.tokens, work.item_bytes
    rotated = tokens * (shape.heads + shape.kv_heads) * shape.head_dim
    norm = _elementwise(tokens * shape.hidden, item_bytes) + Cost(0, 2 * shape.hidden * item_bytes)
    length, width = work.query, shape.head_dim
    scores, products = length * work.context * shape.heads, 4 * length * work.context * shape.heads * width
    if work.causal:  # the authors' savings, as in the module's docstring
        products -= shape.kv_heads * (width * length * (length - 1) + length * width * (width - 1))
        scores -= shape.kv_heads * length * (length - 1) // 2
    # the last token of each sequence
    head_tokens = work.sequences if shape.layout == "llama" else 0
    # one norm before attention and one before the products of each layer, and one at the end
    return {
        "projections": _projections(shape, tokens, item_bytes) * shape.layers,
        "head": _product(head_tokens, shape.hidden, shape.vocabulary, item_bytes),
        "attention": Cost(products * work.sequences, _attention_bytes(shape, work)) * shape.layers,
        "softmax": Cost(scores * work.sequences * shape.layers),
        "norm": norm * (2 * shape.layers + 1),
        "rotary": _elementwise(rotated, item_bytes) * shape.layers,
        "pointwise": _pointwise(shape, tokens, item_bytes, activation=1) * shape.layers,
    }


def corrected(shape: Shape, work: Work) -> dict[Part, Cost]:
    """The parts of a forward as they must be done."""
    tokens, item_bytes = work.tokens, work.item_bytes
    # only pairs that see each other
    scores = work.pairs * shape.heads * work.sequences
    rotated = tokens * (shape.heads + shape.kv_heads) * shape.head_dim
    # cosines and sines of each position, shared by all sequences and heads
    tables = Cost(0, 2 * work.query * shape.head_dim * item_bytes)
    biases = Cost(0, shape.bias_parameters * item_bytes)
    logits = work.logits * work.sequences
    sampled = work.sampled * work.sequences * shape.vocabulary
    return {
        "projections": (_projections(shape, tokens, item_bytes) + biases) * shape.layers,
        "head": _product(logits, shape.hidden, shape.vocabulary, item_bytes),
        "attention": Cost(4 * scores * shape.head_dim, _attention_bytes(shape, work)) * shape.layers,
        "softmax": Cost(4 * scores * shape.layers),
        "norm": _norm(shape, tokens, item_bytes) * (2 * shape.layers) + _norm(shape, logits, item_bytes),
        "rotary": (_elementwise(rotated, item_bytes, operations=3) + tables) * shape.layers,
        "pointwise": _pointwise(shape, tokens, item_bytes, activation=4) * shape.layers,
        "embedding": _elementwise(tokens * shape.hidden, item_bytes, operations=0),
        "sampling": Cost(3 * sampled if work.confident else 0, sampled * item_bytes),
    }


PARTS: Mapping[Convention, Callable[[Shape, Work], dict[Part, Cost]]]
PARTS = {"as_authored": as_authored, "corrected": corrected}


def _product(rows: int, inner: int, outer: int, item_bytes: int) -> Cost:
    """A matrix product [rows, inner]×[inner, outer]; zero without rows."""
    if not rows:
        return NOTHING
    return Cost(2 * rows * inner * outer, item_bytes * (rows * inner + inner * outer + rows * outer))


def _projections(shape: Shape, tokens: int, item_bytes: int) -> Cost:
    """A layer's seven products: queries, keys, values, output; gate, up, down."""
    attended, cached = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    sides = [(shape.hidden, attended), (shape.hidden, cached), (shape.hidden, cached), (attended, shape.hidden)]
    sides += [(shape.hidden, shape.ffn), (shape.hidden, shape.ffn), (shape.ffn, shape.hidden)]
    return sum((_product(tokens, inner, outer, item_bytes) for inner, outer in sides), NOTHING)


def _attention_bytes(shape: Shape, work: Work) -> int:
    """Bytes of a layer's queries, output, keys and values, each once."""
    elements = (work.query * shape.heads + work.context * shape.kv_heads) * shape.head_dim
    return 2 * work.item_bytes * elements * work.sequences


def _elementwise(elements: int, item_bytes: int, *, inputs: int = 1, operations: int = 1) -> Cost:
    """An operator over elements that reads its inputs and writes its output."""
    return Cost(operations * elements, (inputs + 1) * elements * item_bytes)


def _norm(shape: Shape, tokens: int, item_bytes: int) -> Cost:
    """A norm: square, add, scale, weight; zero without tokens."""
    if not tokens:
        return NOTHING
    return _elementwise(tokens * shape.hidden, item_bytes, operations=4) + Cost(0, shape.hidden * item_bytes)


def _pointwise(shape: Shape, tokens: int, item_bytes: int, *, activation: int) -> Cost:
    """A layer's two residual sums, the activation at `activation` operations an element, the product with the gate."""
    residual = _elementwise(tokens * shape.hidden, item_bytes, inputs=2)
    activated = _elementwise(tokens * shape.ffn, item_bytes, operations=activation)
    return residual * 2 + activated + _elementwise(tokens * shape.ffn, item_bytes, inputs=2)
