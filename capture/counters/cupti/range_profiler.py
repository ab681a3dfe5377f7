"""CUPTI's range profiler: the host side, which needs no device, and the device side of one CUDA context."""

import ctypes
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from ridgeline.capture.counters.cupti.join import Range
from ridgeline.capture.counters.cupti.library import CuptiError, Library
from ridgeline.capture.counters.cupti.structures import AUTO_RANGE, RANGE_PROFILER, USER_REPLAY


class Host:
    """A set of metrics configured for a chip: the config image, its passes, and values from counter data."""

    def __init__(self, library: Library, chip: str, metrics: Sequence[str]) -> None:
        """Configure `metrics` for `chip` (`GH100`). Raises CuptiError for a chip or a metric CUPTI does not know."""
        self.library, self.chip, self.metrics = library, chip, tuple(metrics)
        names = (ctypes.c_char_p * len(self.metrics))(*(name.encode() for name in self.metrics))
        self.named: dict[str, Any] = {"metrics": names, "metric_count": len(self.metrics)}
        self._values = (ctypes.c_double * len(self.metrics))()
        self._object = library.call(
            "cuptiProfilerHostInitialize", f"chip {chip}", profiler=RANGE_PROFILER, chip=chip.encode()
        ).object
        try:
            self._configure()
        except CuptiError:
            self.close()
            raise

    def _configure(self) -> None:
        about = f"{', '.join(self.metrics)} on {self.chip}"
        call = self.library.call
        call("cuptiProfilerHostConfigAddMetrics", about, object=self._object, **self.named)
        config_size = call("cuptiProfilerHostGetConfigImageSize", about, object=self._object).config_size
        self.config = (ctypes.c_uint8 * config_size)()
        self.configured = {"config_size": config_size, "config": ctypes.addressof(self.config)}
        call("cuptiProfilerHostGetConfigImage", about, object=self._object, **self.configured)
        self.passes = int(call("cuptiProfilerHostGetNumOfPasses", about, **self.configured).passes)

    def evaluate(self, index: int, **image: int) -> tuple[float, ...]:
        """The metrics of range `index` of a counter data image (`data`, `data_size`), in the order of `metrics`."""
        self.library.call(
            "cuptiProfilerHostEvaluateToGpuValues",
            f"range {index}",
            object=self._object,
            index=index,
            values=ctypes.addressof(self._values),
            **image,
            **self.named,
        )
        return tuple(self._values)

    def close(self) -> None:
        """Let go of the host object. Safe to repeat."""
        if self._object:
            with suppress(CuptiError):
                self.library.call("cuptiProfilerHostDeinitialize", object=self._object)
        self._object = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


def _buffer(size: int, ranges: int) -> "ctypes.Array[ctypes.c_uint8]":
    """A counter data image. Raises CuptiError when the host has not so much memory."""
    try:
        return (ctypes.c_uint8 * size)()
    except MemoryError as error:
        raise CuptiError("counter image", None, f"no memory for {size} bytes, which {ranges} ranges need") from error


class RangeProfiler:
    """Counters of a range for every kernel on one CUDA context: configure, start, work, stop, decode, ranges; again.

    Each round begins with an empty image. Leaving the `with` block stops and disables whatever is still on.

    Ranges can be missing without a word. CUPTI's maxRangesPerPass is no cap: a pass goes on beyond it, and ends
    silently at twice as many; an image that is full drops the rest, and CUPTI's count of dropped ranges stays 0. So
    both are as large as the caller says a round may be, and whoever reads the ranges must know how many there should
    be (`join.by_step`).
    """

    def __init__(self, host: Host, context: int, *, ranges: int) -> None:
        """Enable on `context` (a CUcontext's address), with an image for `ranges` kernels a round.

        Raises CuptiError, for example for missing permission; nothing is left enabled then.
        """
        self._host, self._library, self._ranges = host, host.library, ranges
        self._ready = self._started = False
        self._object = self._library.call("cuptiRangeProfilerEnable", context=context).object
        try:
            size = self._call("GetCounterDataSize", ranges=ranges, tree_nodes=ranges, **host.named).data_size
            self._data = _buffer(size, ranges)
        except CuptiError:
            self.close()
            raise
        self._image = {"data": ctypes.addressof(self._data), "data_size": size}

    def configure(self) -> None:
        """Empty the image and set the configuration. After a failure nothing may start: it would crash the process."""
        self._ready = False
        self._call("CounterDataImageInitialize", **self._image)
        self._call(
            "SetConfig",
            range=AUTO_RANGE,
            replay=USER_REPLAY,
            # The first Start costs 0.75 ms for each of these.
            ranges_per_pass=self._ranges,
            nesting_levels=1,
            least_nesting_level=1,
            target_nesting_level=1,
            **self._image,
            **self._host.configured,
        )
        self._ready = True

    def start(self) -> None:
        """Count from here. Raises CuptiError without a call when the configuration is not set."""
        if not self._ready:
            raise CuptiError("cuptiRangeProfilerStart", None, "not called, since the configuration was not set")
        self._call("Start")
        self._started = True

    def stop(self) -> None:
        """Count to here. The device must have done its work."""
        self._started = False
        self._call("Stop")

    def decode(self) -> None:
        """Bring what was counted into the image. CUPTI's count of dropped ranges is 0 even for a full image."""
        self._call("DecodeData")

    def ranges(self) -> list[Range]:
        """The image's ranges, in launch order. Raises CuptiError for a range whose name is not a launch number."""
        count = self._library.call("cuptiRangeProfilerGetCounterDataInfo", **self._image).ranges
        found = [Range(self._number(index), self._host.evaluate(index, **self._image)) for index in range(count)]
        return sorted(found, key=lambda one: one.number)

    def _number(self, index: int) -> int:
        call = "cuptiRangeProfilerCounterDataGetRangeInfo"
        name = (self._library.call(call, index=index, delimiter=b"/", **self._image).name or b"").decode()
        if not name.isdecimal():
            raise CuptiError(call, None, f"range {index} is named {name!r}; expected a launch number")
        return int(name)

    def close(self) -> None:
        """Stop and disable, whatever state it is in. Safe to repeat."""
        for call, needed in (("Stop", self._started), ("Disable", bool(self._object))):
            with suppress(CuptiError):
                if needed:
                    self._call(call)
        self._ready = self._started = False
        self._object = None

    def _call(self, name: str, **fields: Any) -> Any:
        return self._library.call(f"cuptiRangeProfiler{name}", object=self._object, **fields)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()
