"""Which blocks of a sequence see which, in block-sparse attention: a band around each block, and the first as a sink.

A query sees the keys up to a window away from it on either side, and the first BLOCK keys. What is computed is whole
blocks of queries by keys, all that hold a pair which is seen.
"""

BLOCK = 128
"""Queries and keys of a block."""


def reach(window: int) -> int:
    """How many blocks away a block holds keys that a window reaches."""
    return (window - 1) // BLOCK + 1


def kept_pairs(length: int, window: int) -> int:
    """Pairs of query and key within the blocks that are kept, of a sequence of `length` positions."""
    sizes = [min(BLOCK, length - start) for start in range(0, length, BLOCK)]
    band = reach(window)
    return sum(
        size * (sum(sizes[max(0, index - band) : index + band + 1]) + (BLOCK if index > band else 0))
        for index, size in enumerate(sizes)
    )
