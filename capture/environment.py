"""The settings that native libraries take from environment variables, and the device and versions of a run.

Importing this module does not import torch.
"""

from __future__ import annotations

import os
import platform
import tomllib
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from ridgeline import IMPORT_ROOT
from ridgeline.capture.errors import DeviceError
from ridgeline.capture.records import Environment

if TYPE_CHECKING:
    import torch


def prepare() -> None:
    """Set the variables that steady host timings and silence the terminal. Variables set by the user keep their value.

    Call this before the first `import torch`: the libraries read the variables once, when torch loads them.
    """
    # OpenMP threads spin while they wait. Two of them on one core cost each small operator a scheduler tick,
    # milliseconds instead of microseconds. A short spin is as fast and does not stall.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    # Kineto and torch's C++ side write to stderr at every start and stop of a profiler. The one message that
    # matters, that the profiler saw no kernels, follows from the trace (`measuring.profiling`).
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")


def resolve(device: str) -> torch.device:
    """The torch device for `auto`, `cpu` or `cuda`. Raises DeviceError when it is missing."""
    import torch

    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise DeviceError('device = "cuda", but torch sees no CUDA device; expected one, or device = "cpu" or "auto".')
    return torch.device("cuda", torch.cuda.current_device())


def describe(device: torch.device) -> Environment:
    """The environment of runs on `device`: an allow-list without environment variables, user or host name."""
    import torch

    on_cuda = device.type == "cuda"
    driver = None
    with suppress(Exception):  # No library, driver or permission: an unknown driver must not fail a run.
        if on_cuda:
            import pynvml

            pynvml.nvmlInit()
            try:
                driver = str(pynvml.nvmlSystemGetDriverVersion())
            finally:
                pynvml.nvmlShutdown()
    return Environment(
        device=device_name(device),
        device_kind=device.type,
        driver=driver,
        torch=str(torch.__version__),
        cuda=torch.version.cuda if on_cuda else None,
        transformers=_version("transformers"),
        python=platform.python_version(),
        ridgeline=ridgeline_version(),
    )


def device_name(device: torch.device) -> str:
    """The name that the maker gives the device, for example `NVIDIA H200`."""
    if device.type == "cuda":
        import torch

        return torch.cuda.get_device_name(device)
    # On Linux platform.processor() is empty or the architecture.
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine() or "cpu"


def ridgeline_version() -> str:
    """The version in the pyproject.toml of this checkout, else of the installed distribution, else `unknown`."""
    project = IMPORT_ROOT / "pyproject.toml"
    if project.is_file():
        declared = tomllib.loads(project.read_text()).get("project", {})
        # In an installed package the folder above may hold another project's file.
        if declared.get("name") == "ridgeline":
            return str(declared.get("version", "unknown"))
    return _version("ridgeline") or "unknown"


def _version(distribution: str) -> str | None:
    """The version of an installed distribution, which is not imported; None without it."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
