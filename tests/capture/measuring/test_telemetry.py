"""Telemetry: rows in the units of their columns, from the start to the end of the recorded block."""

import csv
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ridgeline.capture.measuring import telemetry
from ridgeline.capture.measuring.telemetry import COLUMNS, Recorder


class Refused(Exception):
    """What NVML raises."""


class FakeNvml:
    """An NVML of constant values, without clocks of the memory and without temperature."""

    NVMLError = Refused
    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0

    def __init__(self) -> None:
        self.shut_down = 0

    def nvmlDeviceGetPowerUsage(self, handle: Any) -> int:  # noqa: N802
        return 512_345

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: Any) -> int:  # noqa: N802
        return 7_000_001

    def nvmlDeviceGetClockInfo(self, handle: Any, clock: int) -> int:  # noqa: N802
        if clock == self.NVML_CLOCK_MEM:
            raise Refused
        return 1980

    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> Any:  # noqa: N802
        return SimpleNamespace(used=1024)

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: Any) -> int:  # noqa: N802
        return 4

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.shut_down += 1


def test_rows_are_in_the_units_of_their_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = FakeNvml()
    monkeypatch.setattr(telemetry, "PERIOD_S", 0.01)
    monkeypatch.setattr(telemetry, "_recorder", lambda device: Recorder(nvml, None))
    before_ns = time.time_ns()
    with telemetry.recorded(torch.device("cuda")) as samples:
        time.sleep(0.1)
    telemetry.write(tmp_path / "telemetry.csv", samples)
    with (tmp_path / "telemetry.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) >= 3
    times = [int(row.pop("time_ns")) for row in rows]
    assert before_ns - 1e9 < times[0] < times[-1] < time.time_ns() + 1e9
    assert times == sorted(times)
    assert times[-1] - times[0] >= 100_000_000
    assert rows[0] == {
        "power_w": "512.345",
        "energy_j": "7000.001",
        "sm_clock_hz": "1980000000",
        "memory_clock_hz": "",
        "temperature_c": "",
        "memory_used_bytes": "1024",
        "throttle_reasons": "4",
    }
    assert nvml.shut_down == 1


def test_a_device_without_nvml_leaves_no_file(tmp_path: Path) -> None:
    with telemetry.recorded(torch.device("cpu")) as samples:
        pass
    telemetry.write(tmp_path / "telemetry.csv", samples)
    assert list(tmp_path.iterdir()) == []


def test_recording_ends_when_the_block_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(FakeNvml(), None)
    monkeypatch.setattr(telemetry, "_recorder", lambda device: recorder)
    with pytest.raises(ValueError, match="block"), telemetry.recorded(torch.device("cuda")):
        raise ValueError("block")
    assert not recorder._thread.is_alive()
