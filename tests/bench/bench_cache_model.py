"""How many kernels a second the cache model predicts, of steps that all differ.

python -m tests.bench.bench_cache_model
python -m tests.bench.bench_cache_model --layers 32 --steps 100
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from sys import path

import polars as pl

path.insert(0, str(Path(__file__).resolve().parents[2]))

from ridgeline.analyze.cache_model.operands import Touch, frame
from ridgeline.analyze.cache_model.predict import predict

L2_BYTES = 60 << 20
KERNELS_A_LAYER = 40
TARGET = 150_000
"""Kernels a second."""


def layer(number: int, rows: int) -> Iterator[list[Touch]]:
    """Products with weights of their own, and pointwise work on activations whose memory is used again."""
    activation = rows * 4096 * 2
    for i in range(KERNELS_A_LAYER):
        source, target = (
            Touch(i % 5, 0, activation, activation, False),
            Touch((i + 1) % 5, 0, activation, activation, True),
        )
        if i % 6 == 0:
            weight = Touch(100 + number * KERNELS_A_LAYER + i, 0, 33_554_432, 33_554_432, False, 1)
            yield [source._replace(waves=1, parts=1, shared=True), weight, target._replace(waves=1)]
        else:
            yield [source, target]


def sequence(steps: int, layers: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    touched = [
        (step, kernel) for step in range(steps) for number in range(layers) for kernel in layer(number, 128 + step)
    ]
    kernels = pl.DataFrame(
        {
            "kernel": range(len(touched)),
            "name": [f"kernel_{i % KERNELS_A_LAYER}" for i in range(len(touched))],
            "step": [step for step, _ in touched],
        }
    )
    return kernels, frame((i, touch) for i, (_, kernel) in enumerate(touched) for touch in kernel)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    kernels, operands = sequence(arguments.steps, arguments.layers)
    start = time.perf_counter()
    predict(kernels, operands, L2_BYTES)
    print(f"{len(kernels) / (time.perf_counter() - start):,.0f} kernels/s (target {TARGET:,})")


if __name__ == "__main__":
    main()
