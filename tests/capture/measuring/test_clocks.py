"""No duration depends on the system's clock, which may be set while a point runs."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest
import torch

from ridgeline.capture.decoder.decoder import Decoder
from ridgeline.capture.measuring import energy, telemetry, timing
from ridgeline.capture.measuring.execution import prepare
from ridgeline.capture.measuring.labels import Labels
from ridgeline.capture.modes import start
from tests.capture.conftest import make_point

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """A day back at every look."""
    days = itertools.count()
    monkeypatch.setattr(time, "time_ns", lambda: (20_000 - next(days)) * 86_400 * 10**9)
    monkeypatch.setattr(time, "time", lambda: time.time_ns() / 1e9)


class Nvml:
    """NVML of a device that counts energy and knows nothing else, as an old driver would."""

    NVML_CLOCK_SM = NVML_CLOCK_MEM = NVML_TEMPERATURE_GPU = 0

    class NVMLError(Exception):
        """As pynvml's."""

    def __init__(self) -> None:
        self._energy_mj = itertools.count(0, 1000)

    def nvmlDeviceGetTotalEnergyConsumption(self, _: object) -> int:  # noqa: N802 -- NVML's name
        return next(self._energy_mj)

    def nvmlShutdown(self) -> None:  # noqa: N802
        """Nothing to let go of."""

    def __getattr__(self, name: str) -> Any:
        def refuse(*_: object) -> None:
            raise self.NVMLError("Function Not Found")

        return refuse


def test_telemetry_only_goes_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "PERIOD_S", 0.001)
    recorder = telemetry.Recorder(Nvml(), None)
    recorder.start()
    time.sleep(0.02)
    recorder.stop()
    times = [sample[0] for sample in recorder.samples]
    assert len(times) > 2
    assert times == sorted(set(times))  # type: ignore[type-var]
    summary = energy.summarize(recorder.samples, 4)
    assert summary is not None
    assert 0.01 < summary.window_s < 10
    assert summary.joules == len(times) - 1
    assert {value for sample in recorder.samples for value in (*sample[1:2], *sample[3:])} == {None}


def test_timings_only_go_forward(llama: Decoder) -> None:
    point = make_point(model="tiny-llama", mode="ar", prompt_tokens=8, generated_tokens=4)
    prepared = prepare(start(llama, point, Labels()), CPU, execution="eager", replayed=True, progress=lambda _: None)
    repeats = [timing.generation(prepared.runner, CPU) for _ in range(2)]
    assert {each.value_ns > 0 for timings in repeats for each in timings} == {True}
    first, second = ({each.started_ns for each in timings} for timings in repeats)
    assert max(first) < min(second)
