"""Power, clocks, temperature and throttling of an NVIDIA device against time, sampled by a thread while timings run."""

import csv
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from ridgeline.capture.measuring.clocks import now_ns

PERIOD_S = 0.1
"""Seconds between samples. One costs about a millisecond of host time, which eager decoding would feel if frequent."""

COLUMNS = (
    "time_ns",
    "power_w",
    "energy_j",
    "sm_clock_hz",
    "memory_clock_hz",
    "temperature_c",
    "memory_used_bytes",
    "throttle_reasons",
)
"""The columns of telemetry.csv. `energy_j` counts since the driver loaded; `throttle_reasons` is NVML's bit mask."""

Sample = tuple[int | float | None, ...]


class Recorder:
    """Samples of one device, from `start` to `stop`; the first and the last frame the time between exactly."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self.samples: list[Sample] = []
        self._nvml, self._handle = nvml, handle
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="telemetry", daemon=True)

    def start(self) -> None:
        """Take a sample and begin."""
        self.samples.append(self._sample())
        self._thread.start()

    def stop(self) -> None:
        """Take a last sample and let go of the device."""
        self._stop.set()
        self._thread.join()
        self.samples.append(self._sample())
        with suppress(self._nvml.NVMLError):
            self._nvml.nvmlShutdown()

    def _loop(self) -> None:
        while not self._stop.wait(PERIOD_S):
            self.samples.append(self._sample())

    def _sample(self) -> Sample:
        """One row of COLUMNS; None for what this device does not tell."""
        nvml, handle = self._nvml, self._handle

        def read(name: str, *arguments: Any, scale: float = 1) -> int | float | None:
            try:
                value = getattr(nvml, name)(handle, *arguments)
            except (nvml.NVMLError, AttributeError):  # Not on this device, or not in this version of the library.
                return None
            return value * scale if isinstance(value, int | float) else int(value.used)

        return (
            now_ns(),
            read("nvmlDeviceGetPowerUsage", scale=1e-3),
            read("nvmlDeviceGetTotalEnergyConsumption", scale=1e-3),
            read("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM, scale=1_000_000),
            read("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_MEM, scale=1_000_000),
            read("nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU),
            read("nvmlDeviceGetMemoryInfo"),
            read("nvmlDeviceGetCurrentClocksThrottleReasons"),
        )


@contextmanager
def recorded(device: torch.device) -> Iterator[list[Sample]]:
    """Record while the block runs. The samples are filled in by its end; without NVML they stay empty."""
    samples: list[Sample] = []
    recorder = _recorder(device)
    if recorder is None:
        yield samples
        return
    recorder.start()
    try:
        yield samples
    finally:
        recorder.stop()
        samples += recorder.samples


def write(path: Path, samples: list[Sample]) -> None:
    """Write telemetry.csv, unless there is nothing to write."""
    if not samples:
        return
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([_text(value) for value in sample] for sample in samples)


def _text(value: int | float | None) -> str:
    """A number without the noise of binary fractions; nothing for None."""
    return "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def _recorder(device: torch.device) -> Recorder | None:
    """A recorder of `device`, or None where NVML does not know it."""
    if device.type != "cuda":
        return None
    try:
        import pynvml

        pynvml.nvmlInit()
        return Recorder(pynvml, _handle(pynvml, device))
    except Exception:  # No library, no driver or no permission: telemetry is a companion, never a condition.
        return None


def _handle(nvml: Any, device: torch.device) -> Any:
    """NVML's handle of a torch device, found by UUID, since CUDA_VISIBLE_DEVICES renumbers CUDA's devices only."""
    uuid = str(getattr(torch.cuda.get_device_properties(device), "uuid", ""))
    for prefix in ("GPU-", "MIG-"):
        with suppress(nvml.NVMLError):
            return nvml.nvmlDeviceGetHandleByUUID(f"{prefix}{uuid}")
    return nvml.nvmlDeviceGetHandleByIndex(device.index or 0)
