"""The device half's ground: NVIDIA's driver, CUPTI initialized for a device, and the CUDA context that torch uses."""

import ctypes
from typing import TYPE_CHECKING

from ridgeline.capture.counters.cupti import library
from ridgeline.capture.counters.cupti.library import CuptiError, Library
from ridgeline.capture.errors import CaptureError

if TYPE_CHECKING:
    import torch


def opened(device: "torch.device") -> tuple[Library, str]:
    """Return CUPTI, initialized for `device`, and the name of its chip, such as `GH100`.

    Raises CaptureError naming what is missing: a CUDA device, the driver or libcupti.
    """
    index = index_of(device)
    driver()
    cupti = library.load()
    cupti.call("cuptiProfilerInitialize")
    return cupti, cupti.call("cuptiDeviceGetChipName", device=index).chip.decode()


def index_of(device: "torch.device") -> int:
    """Return the number of a CUDA device: its own, or that of the current device where it has none.

    Raises CaptureError for a device of another kind.
    """
    if device.type != "cuda":
        raise CaptureError(f"no counters on {device}; expected a CUDA device")
    index = getattr(device, "index", None)  # torch's stubs do not say that it may be None
    if index is None:
        import torch

        index = torch.cuda.current_device()
    return int(index)


def context(device: "torch.device") -> int:
    """Return the address of the CUDA context that torch uses on `device`. Raises CuptiError if there is none."""
    import torch

    # torch makes the context when it first works on a device.
    address = ctypes.c_void_p()
    with torch.cuda.device(device):
        torch.cuda.synchronize()
        code = driver().cuCtxGetCurrent(ctypes.byref(address))
    if code or not address.value:
        raise CuptiError("cuCtxGetCurrent", code or None, f"no CUDA context on {device}")
    return address.value


def driver() -> ctypes.CDLL:
    """Return NVIDIA's driver library. Raises CuptiError if there is none."""
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise CuptiError("libcuda.so.1", None, "no NVIDIA driver on this machine") from error
