"""How many kernels a second the cache model predicts, over steps that repeat and over ones never seen before.

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
"""Kernels a second over repeated steps."""


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


def sequence(steps: int, layers: int, *, distinct: bool) -> tuple[pl.DataFrame, pl.DataFrame]:
    touched = [
        (step, kernel)
        for step in range(steps)
        for number in range(layers)
        for kernel in layer(number, 128 + (step if distinct else 0))
    ]
    kernels = pl.DataFrame(
        {
            "kernel": range(len(touched)),
            "name": [f"kernel_{i % KERNELS_A_LAYER}" for i in range(len(touched))],
            "step": [step for step, _ in touched],
        }
    )
    return kernels, frame((i, touch) for i, (_, kernel) in enumerate(touched) for touch in kernel)


def kernels_a_second(steps: int, layers: int, *, distinct: bool) -> float:
    kernels, operands = sequence(steps, layers, distinct=distinct)
    start = time.perf_counter()
    predict(kernels, operands, L2_BYTES)
    return len(kernels) / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--steps", type=int, default=100)
    arguments = parser.parse_args()
    repeated = kernels_a_second(arguments.steps, arguments.layers, distinct=False)
    first = kernels_a_second(5, arguments.layers, distinct=True)
    print(f"steps that repeat  {repeated:>10,.0f} kernels/s (target {TARGET:,})")
    print(f"steps never seen   {first:>10,.0f} kernels/s")


if __name__ == "__main__":
    main()
