"""What a run ran on: device and versions, an allow-list; never the environment, the user or the host's name."""

import platform
import tomllib
from importlib import metadata
from pathlib import Path

import torch
import transformers

from ridgeline import IMPORT_ROOT
from ridgeline.capture.errors import DeviceError
from ridgeline.capture.records import Environment


def resolve(device: str) -> torch.device:
    """The device for `auto`, `cpu` or `cuda`. Raises DeviceError when it is not there."""
    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise DeviceError('device = "cuda", but torch sees no CUDA device; expected one, or device = "cpu" or "auto".')
    return torch.device("cuda", torch.cuda.current_device())


def describe(device: torch.device) -> Environment:
    """The environment of runs on `device`."""
    on_cuda = device.type == "cuda"
    return Environment(
        device=device_name(device),
        device_kind=device.type,
        driver=_driver() if on_cuda else None,
        torch=str(torch.__version__),
        cuda=torch.version.cuda if on_cuda else None,
        transformers=transformers.__version__,
        python=platform.python_version(),
        ridgeline=ridgeline_version(),
    )


def device_name(device: torch.device) -> str:
    """The device's name as its maker writes it, for example `NVIDIA H200`."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine() or "cpu"


def ridgeline_version() -> str:
    """The version of this tree, from the project file beside the package or else from the installed distribution."""
    project = IMPORT_ROOT / "pyproject.toml"
    if project.is_file():
        declared = tomllib.loads(project.read_text()).get("project", {})
        if declared.get("name") == "ridgeline":
            return str(declared.get("version", "unknown"))
    try:
        return metadata.version("ridgeline")
    except metadata.PackageNotFoundError:
        return "unknown"


def _driver() -> str | None:
    """The NVIDIA driver's version."""
    try:
        import pynvml

        pynvml.nvmlInit()
        try:
            return str(pynvml.nvmlSystemGetDriverVersion())
        finally:
            pynvml.nvmlShutdown()
    except Exception:  # As for telemetry: worth a None, not a failed run.
        return None
