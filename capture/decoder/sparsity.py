"""The blocks that block-sparse attention computes: a band around the diagonal, and the first block as a sink.

A query sees the keys up to a window away on either side, and the first BLOCK keys. Attention computes every block of
queries by keys that contains a visible pair, as a whole. Imports no torch.
"""

BLOCK = 128
"""Queries and keys per block."""


def reach(window: int) -> int:
    """The largest distance in blocks between two blocks with a pair of positions at most `window` apart."""
    return (window - 1) // BLOCK + 1


def kept_pairs(length: int, window: int) -> int:
    """Pairs of query and key in the computed blocks of a sequence of `length` positions."""
    sizes = [min(BLOCK, length - start) for start in range(0, length, BLOCK)]
    band = reach(window)
    pairs = 0
    for index, size in enumerate(sizes):
        sink = BLOCK if index > band else 0  # nearer blocks have the first block in their band
        pairs += size * (sum(sizes[max(0, index - band) : index + band + 1]) + sink)
    return pairs
