"""Captured runs and small decoders, built once for all tests of capture."""

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ridgeline.capture import environment

environment.prepare()

import torch  # noqa: E402

from ridgeline.capture.configuration.points import Point, points  # noqa: E402
from ridgeline.capture.configuration.presets import PRESETS  # noqa: E402
from ridgeline.capture.decoder.decoder import Decoder, random_decoder  # noqa: E402
from ridgeline.capture.sweep import sweep  # noqa: E402

from .quick import quicken  # noqa: E402

SMALL = {"prompt_tokens": 16, "generated_tokens": 12, "dtype": "fp32", "device": "cpu", "repeats": 2}


def make_point(**keys: Any) -> Point:
    """One validated point on the CPU, small unless told otherwise."""
    (point,) = points({**SMALL, **keys})
    return point


@pytest.fixture(autouse=True, scope="module")
def _frozen() -> None:
    """Let the garbage collector leave alone what earlier modules left: each captured point collects twice."""
    gc.freeze()


@pytest.fixture(autouse=True)
def _inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="session")
def llama() -> Decoder:
    with torch.inference_mode():
        return random_decoder(PRESETS["tiny-llama"], torch.float32, torch.device("cpu"), capacity=64, seed=1)


@pytest.fixture(scope="session")
def llada() -> Decoder:
    with torch.inference_mode():
        return random_decoder(PRESETS["tiny-llada"], torch.float32, torch.device("cpu"), capacity=64, seed=1)


@pytest.fixture(scope="session")
def dream() -> Decoder:
    with torch.inference_mode():
        return random_decoder(PRESETS["tiny-dream"], torch.float32, torch.device("cpu"), capacity=64, seed=1)


class Captured(msgspec.Struct):
    """A folder of runs, one of each mode, and what the sweep said of them."""

    folder: Path
    points: list[Point]
    results: list[sweep.RunResult]
    messages: list[str]

    def directory(self, mode: str) -> Path:
        (directory,) = [self.folder / point.directory for point in self.points if point.mode == mode]
        return directory

    def record(self, mode: str) -> Any:
        return msgspec.json.decode((self.directory(mode) / "run.json").read_bytes())


@pytest.fixture(scope="session")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Captured:
    folder = tmp_path_factory.mktemp("runs")
    points = [
        make_point(model="tiny-llama", mode="ar", experiment="tests"),
        make_point(model="tiny-llada", mode="dlm_full", block=6, experiment="tests"),
        make_point(model="tiny-llada", mode="dlm_block_dual", block=4, batch=2, experiment="tests"),
    ]
    messages: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        quicken(patch)
        results = sweep.run(points, folder, progress=messages.append, isolate=False)
    return Captured(folder=folder, points=points, results=results, messages=messages)
