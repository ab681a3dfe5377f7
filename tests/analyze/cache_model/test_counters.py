"""Four steps of 8B models on an H200, against the DRAM counters of every kernel.

The sizes of code were fitted to ``ar_decode`` and ``dlm_full``; rules were shaped looking at all four.
"""

from __future__ import annotations

import csv
import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from ridgeline.analyze.cache_model.execution_trace import read_execution_trace
from ridgeline.analyze.cache_model.heuristic import guess
from ridgeline.analyze.cache_model.heuristic import recorded as recorded_call
from ridgeline.analyze.cache_model.launches import operands
from ridgeline.analyze.cache_model.launches.launch import Call
from ridgeline.analyze.cache_model.predict import predict
from ridgeline.analyze.pricing.families import family
from ridgeline.analyze.reading.columns import Signature

SHARED = Path(__file__).parents[4] / "shared" / "h200"
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="the reference captures are not beside the project")

CAPTURES = ("ar_decode", "dlm_full", "ar_decode_b16", "dlm_prefix")
L2_BYTES = 60 << 20


@dataclass
class Capture:
    name: str
    kernels: pl.DataFrame
    calls: list[dict[str, Any]]
    """The operator of each kernel."""
    counted: pl.DataFrame

    def compare(self, calls: dict[int, Call]) -> pl.DataFrame:
        """Predicted and counted bytes of the first step's kernels."""
        predicted = predict(self.kernels, operands(self.kernels, calls), L2_BYTES)
        moved = predicted["dram_read_bytes"] + predicted["dram_write_bytes"]
        return self.counted.with_columns(
            predicted=moved[: len(self.counted)], family=self.kernels["family"][: len(self.counted)]
        )


@pytest.fixture(scope="module", params=CAPTURES)
def capture(request: pytest.FixtureRequest) -> Capture:
    return load(request.param)


def load(name: str) -> Capture:
    with gzip.open(SHARED / f"{name}.json.gz") as file:
        events = json.load(file)["traceEvents"]
    operators = {e["args"]["External id"]: e for e in events if e.get("cat") == "cpu_op"}
    device = sorted((e for e in events if e.get("cat") == "kernel"), key=lambda e: e["ts"])
    calls = [operators[e["args"]["External id"]] for e in device]
    counted = counters(SHARED / f"{name}.ncu.csv.gz")
    kernels = pl.DataFrame(
        {
            "kernel": range(len(device)),
            "name": [e["name"] for e in device],
            "step": [i // len(counted) for i in range(len(device))],
            "call": [call["args"]["Record function id"] for call in calls],
            "family": [family(c["name"], e["name"], "kernel") for c, e in zip(calls, device, strict=True)],
        }
    )
    assert len(kernels) == 2 * len(counted)
    return Capture(name, kernels, calls, counted)


def counters(path: Path) -> pl.DataFrame:
    with gzip.open(path, "rt", newline="") as file:
        rows = list(csv.DictReader(file))[1:]
    parts = ["dram__bytes_read.sum", "dram__bytes_write.sum"]
    return pl.DataFrame({"counted": [sum(float(row[part].replace(",", "")) for part in parts) for row in rows]})


def spearman(compared: pl.DataFrame) -> float:
    ranks = compared.select(pl.col("counted", "predicted").rank("average")).to_numpy()
    return float(np.corrcoef(ranks.T)[0, 1])


def relative(compared: pl.DataFrame) -> float:
    return float(compared["predicted"].sum()) / float(compared["counted"].sum()) - 1


def families(compared: pl.DataFrame) -> dict[str, float]:
    """Error of each family that moves 2 % of the step's bytes or more."""
    least = 0.02 * float(compared["counted"].sum())
    parts = {str(key[0]): part for key, part in compared.partition_by("family", as_dict=True).items()}
    return {name: relative(part) for name, part in parts.items() if part["counted"].sum() >= least}


@pytest.fixture(scope="module")
def compared(capture: Capture) -> pl.DataFrame:
    return capture.compare(read_execution_trace(SHARED / f"{capture.name}.et.json.gz"))


def test_bytes_of_a_step(compared: pl.DataFrame) -> None:
    assert abs(relative(compared)) <= 0.02


def test_bytes_of_families(compared: pl.DataFrame) -> None:
    errors = families(compared)
    assert "matmul" in errors
    assert {name: error for name, error in errors.items() if abs(error) > 0.2} == {}


def test_order_of_kernels(compared: pl.DataFrame) -> None:
    assert spearman(compared) > 0.95


def test_without_an_execution_trace(capture: Capture) -> None:
    """The stated heuristic: totals hold, families of a full step do not all."""
    writes = pytest.importorskip("ridgeline.analyze.pricing.price").price_all
    unique = {call["args"]["External id"]: call for call in capture.calls}
    texts = ("Input Dims", "Input type", "Input Strides", "Concrete Inputs")
    recorded: list[Signature] = []
    for call in unique.values():
        dims, types, strides, concrete = (json.dumps(call["args"].get(text, [])).encode() for text in texts)
        recorded.append((call["name"], dims, types, strides, concrete))
    distinct = list(dict.fromkeys(recorded))
    prices = dict(zip(distinct, writes(distinct), strict=True))
    guessed = guess(
        [recorded_call(signature, {"write_bytes": prices[signature].write_bytes}) for signature in recorded]
    )
    ids = [call["args"]["Record function id"] for call in unique.values()]
    compared = capture.compare(dict(zip(ids, guessed, strict=True)))
    assert abs(relative(compared)) <= 0.05
    assert abs(families(compared)["matmul"]) <= 0.05
    assert spearman(compared) > 0.8
