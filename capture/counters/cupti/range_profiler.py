"""CUPTI's range profiler: its host half, which needs no device, and its device half for one CUDA context."""

import ctypes
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from ridgeline.capture.counters.cupti.join import Range
from ridgeline.capture.counters.cupti.library import CuptiError, Library
from ridgeline.capture.counters.cupti.structures import AUTO_RANGE, RANGE_PROFILER, USER_REPLAY


class Host:
    """A set of metrics configured for a chip: its config image, its passes, and the evaluation of counter data."""

    def __init__(self, library: Library, chip: str, metrics: Sequence[str]) -> None:
        """Configure `metrics` for `chip`, such as `GH100`. Raises CuptiError for an unknown chip or metric."""
        self.library, self.metrics = library, tuple(metrics)
        names = (ctypes.c_char_p * len(self.metrics))(*(name.encode() for name in self.metrics))
        self.named: dict[str, Any] = {"metrics": names, "metric_count": len(self.metrics)}
        self._values = (ctypes.c_double * len(self.metrics))()
        about = f"{', '.join(self.metrics)} on {chip}"
        call = library.call
        self._object = call(
            "cuptiProfilerHostInitialize", f"chip {chip}", profiler=RANGE_PROFILER, chip=chip.encode()
        ).object
        try:
            call("cuptiProfilerHostConfigAddMetrics", about, object=self._object, **self.named)
            config_size = call("cuptiProfilerHostGetConfigImageSize", about, object=self._object).config_size
            self.config = (ctypes.c_uint8 * config_size)()
            self.configured = {"config_size": config_size, "config": ctypes.addressof(self.config)}
            call("cuptiProfilerHostGetConfigImage", about, object=self._object, **self.configured)
            self.passes = int(call("cuptiProfilerHostGetNumOfPasses", about, **self.configured).passes)
        except CuptiError:
            self.close()
            raise

    def evaluate(self, index: int, **image: int) -> tuple[float, ...]:
        """Return the values of `metrics` of range `index` of a counter data image (`data`, `data_size`)."""
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
        """Free the host object. May be called again."""
        if self._object:
            with suppress(CuptiError):
                self.library.call("cuptiProfilerHostDeinitialize", object=self._object)
        self._object = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


class RangeProfiler:
    """Counts every kernel of a CUDA context as a range, in rounds: configure, start, work, stop, decode, ranges.

    Each round begins with an empty image. Leaving the `with` block stops and disables the profiler, whatever its state.

    CUPTI can lose ranges silently. A pass runs on beyond maxRangesPerPass and ends at twice as many; a full image drops
    the rest, and CUPTI's count of dropped ranges stays 0. So both are as large as the caller says a round may be, and
    the caller must compare the ranges with the kernels of a trace (`join.by_step`).
    """

    def __init__(self, host: Host, context: int, *, ranges: int) -> None:
        """Enable on `context` (a CUcontext's address), with an image for `ranges` kernels a round.

        Raises CuptiError, for example for missing permission, and leaves nothing enabled then.
        """
        self._host, self._library, self._ranges = host, host.library, ranges
        self._ready = self._started = False
        self._object = self._library.call("cuptiRangeProfilerEnable", context=context).object
        try:
            size = self._call("GetCounterDataSize", ranges=ranges, tree_nodes=ranges, **host.named).data_size
            self._data = (ctypes.c_uint8 * size)()
        except MemoryError as error:
            self.close()
            raise CuptiError(
                "counter image", None, f"no memory for {size} bytes, which {ranges} ranges need"
            ) from error
        except CuptiError:
            self.close()
            raise
        self._image = {"data": ctypes.addressof(self._data), "data_size": size}

    def configure(self) -> None:
        """Empty the image and set the configuration. If this fails, `start` refuses: it would crash the process."""
        self._ready = False
        self._call("CounterDataImageInitialize", **self._image)
        self._call(
            "SetConfig",
            range=AUTO_RANGE,
            replay=USER_REPLAY,
            # The first Start takes 0.75 ms for each of these ranges.
            ranges_per_pass=self._ranges,
            nesting_levels=1,
            least_nesting_level=1,
            target_nesting_level=1,
            **self._image,
            **self._host.configured,
        )
        self._ready = True

    def start(self) -> None:
        """Start counting. Raises CuptiError, without a call, if the configuration is not set."""
        if not self._ready:
            raise CuptiError("cuptiRangeProfilerStart", None, "not called, since the configuration was not set")
        self._call("Start", "look for another profiler that counts on this device")
        self._started = True

    def stop(self) -> None:
        """Stop counting. The device must have finished its work."""
        self._started = False  # whether or not the call fails, `close` must not stop again
        self._call("Stop")

    def decode(self) -> None:
        """Copy the counters into the image. CUPTI's count of dropped ranges is 0 even for a full image."""
        self._call("DecodeData")

    def ranges(self) -> list[Range]:
        """Return the image's ranges in launch order. Raises CuptiError for a range whose name is no launch number."""
        ranges = []
        for index in range(self._library.call("cuptiRangeProfilerGetCounterDataInfo", **self._image).ranges):
            call = "cuptiRangeProfilerCounterDataGetRangeInfo"
            name = (self._library.call(call, index=index, delimiter=b"/", **self._image).name or b"").decode()
            if not name.isdecimal():
                raise CuptiError(call, None, f"range {index} is named {name!r}; expected a launch number")
            # In this mode CUPTI names a range by the number of its launch.
            ranges.append(Range(int(name), self._host.evaluate(index, **self._image)))
        return sorted(ranges, key=lambda each: each.number)

    def close(self) -> None:
        """Stop and disable, whatever the state. May be called again."""
        for call, needed in (("Stop", self._started), ("Disable", bool(self._object))):
            with suppress(CuptiError):
                if needed:
                    self._call(call)
        self._ready = self._started = False
        self._object = None

    def _call(self, call: str, about: str = "", **fields: Any) -> Any:
        return self._library.call(f"cuptiRangeProfiler{call}", about, object=self._object, **fields)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()
