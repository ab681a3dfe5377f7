"""Power, clocks, temperature and throttling of an NVIDIA device over time, sampled by a thread during the timings."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from ridgeline.capture.measuring.clocks import now_ns
from ridgeline.formats import write_csv

PERIOD_S = 0.1
"""Seconds between samples. One sample costs about 1 ms of host time, which slows eager decoding if frequent."""

READINGS: dict[str, tuple[str, str | None, float]] = {
    "power_w": ("nvmlDeviceGetPowerUsage", None, 1e-3),
    "energy_j": ("nvmlDeviceGetTotalEnergyConsumption", None, 1e-3),
    "sm_clock_hz": ("nvmlDeviceGetClockInfo", "NVML_CLOCK_SM", 1_000_000),
    "memory_clock_hz": ("nvmlDeviceGetClockInfo", "NVML_CLOCK_MEM", 1_000_000),
    "temperature_c": ("nvmlDeviceGetTemperature", "NVML_TEMPERATURE_GPU", 1),
    "memory_used_bytes": ("nvmlDeviceGetMemoryInfo", None, 1),
    "throttle_reasons": ("nvmlDeviceGetCurrentClocksThrottleReasons", None, 1),
}
"""NVML's function for each column, the constant it takes besides the device, and the factor to the column's unit.

`energy_j` counts since the driver was loaded; `throttle_reasons` is NVML's bit mask.
"""

COLUMNS = ("time_ns", *READINGS)
"""The columns of telemetry.csv."""

Sample = tuple[int | float | None, ...]


class Recorder:
    """Samples of one device. The first and the last one are taken by `start` and `stop`."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self.samples: list[Sample] = []
        self._nvml, self._handle = nvml, handle
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)

    def start(self) -> None:
        """Take a sample and start the thread."""
        self.samples.append(self._sample())
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread, take a last sample and close NVML."""
        self._stop.set()
        self._thread.join()
        self.samples.append(self._sample())
        with suppress(self._nvml.NVMLError):
            self._nvml.nvmlShutdown()

    def _run(self) -> None:
        while not self._stop.wait(PERIOD_S):
            self.samples.append(self._sample())

    def _sample(self) -> Sample:
        """One row of COLUMNS; None for a value that this device does not report."""
        nvml = self._nvml
        sample: list[int | float | None] = [now_ns()]
        for function, constant, scale in READINGS.values():
            arguments = [] if constant is None else [getattr(nvml, constant)]
            try:
                value = getattr(nvml, function)(self._handle, *arguments)
            except (nvml.NVMLError, AttributeError):  # The device or this version of the library lacks it.
                sample.append(None)
            else:  # Only the memory is an object, of which `used` counts.
                sample.append(value * scale if isinstance(value, int | float) else int(value.used))
        return tuple(sample)


@contextmanager
def recorded(device: torch.device) -> Iterator[list[Sample]]:
    """Record while the block runs. The yielded list is complete when the block ends, and empty without NVML."""
    recorder = _recorder(device)
    if recorder:
        recorder.start()
    try:
        yield recorder.samples if recorder else []
    finally:
        if recorder:
            recorder.stop()


def write(path: Path, samples: list[Sample]) -> None:
    """Write telemetry.csv to `path`; no file without samples. Fractions have three digits, None is an empty field."""
    if not samples:
        return
    with path.open("w", newline="") as file:
        rows = ([f"{value:.3f}" if isinstance(value, float) else value for value in sample] for sample in samples)
        write_csv(COLUMNS, rows, file)


def _recorder(device: torch.device) -> Recorder | None:
    """A recorder of `device`; None for a CPU and where NVML is unavailable."""
    if device.type != "cuda":
        return None
    try:
        import pynvml as nvml

        nvml.nvmlInit()
        # CUDA_VISIBLE_DEVICES renumbers CUDA's devices but not NVML's, so the index is only the last resort.
        uuid = str(getattr(torch.cuda.get_device_properties(device), "uuid", ""))
        for prefix in ("GPU-", "MIG-"):
            with suppress(nvml.NVMLError):
                return Recorder(nvml, nvml.nvmlDeviceGetHandleByUUID(f"{prefix}{uuid}"))
        return Recorder(nvml, nvml.nvmlDeviceGetHandleByIndex(device.index or 0))
    except Exception:  # No library, driver or permission: a run without telemetry is still a run.
        return None
