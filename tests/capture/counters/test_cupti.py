"""CUPTI's parameter blocks, its host half for real where it is installed, and the join of ranges to kernels."""

from __future__ import annotations

import ctypes
import gzip
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ridgeline.capture.counters.cupti import join, library, metrics, structures
from ridgeline.capture.counters.cupti.join import JoinError, Kernel, Range
from ridgeline.capture.counters.cupti.library import CuptiError, Library
from ridgeline.capture.counters.cupti.metrics import METRIC_SETS
from ridgeline.capture.counters.cupti.range_profiler import Host, RangeProfiler

SHARED = Path(__file__).parents[4] / "shared" / "h200"
installed = pytest.mark.skipif(
    not any(library._installed()), reason="no libcupti is installed; torch's CUDA wheels bring it"
)
reference = pytest.mark.skipif(not SHARED.is_dir(), reason="the reference traces are not beside the project")


class FakeLibrary(Library):
    """A library that answers as told: `failing` names a call that fails, `rounds` the range numbers of each round."""

    def __init__(self, failing: str = "", rounds: Sequence[Sequence[int]] = ((0,),)) -> None:
        self.calls: list[str] = []
        self.failing, self._rounds, self._round = failing, list(rounds), -1

    def call(self, call: str, about: str = "", **fields: Any) -> Any:
        structures.block(call)(**fields)  # The fields must be the call's own.
        self.calls.append(call.removeprefix("cupti"))
        if call == self.failing:
            raise CuptiError(call, 1, "CUPTI_ERROR_INVALID_PARAMETER", about)
        self._round += call == "cuptiRangeProfilerStart"
        numbers = self._rounds[max(self._round, 0)]
        if call == "cuptiProfilerHostEvaluateToGpuValues":
            values = (ctypes.c_double * fields["metric_count"]).from_address(fields["values"])
            values[:] = [numbers[fields["index"]] * 10.0 + position for position in range(len(values))]
        name = str(numbers[fields["index"]]).encode() if "index" in fields else b""
        answers = {"object": 7, "config_size": 8, "data_size": 16, "passes": 1, "ranges": len(numbers), "name": name}
        return SimpleNamespace(**answers)


@pytest.fixture(scope="module")
def cupti() -> Library:
    return library.load()


def profiler(fake: FakeLibrary) -> RangeProfiler:
    return RangeProfiler(Host(fake, "GH100", METRIC_SETS["memory"]), 1, ranges=4)


@pytest.mark.parametrize(
    ("call", "size"),
    [
        ("cuptiProfilerInitialize", 16),
        ("cuptiDeviceGetChipName", 32),
        ("cuptiProfilerHostInitialize", 48),
        ("cuptiProfilerHostConfigAddMetrics", 40),
        ("cuptiProfilerHostGetConfigImageSize", 32),
        ("cuptiProfilerHostGetConfigImage", 40),
        ("cuptiProfilerHostGetNumOfPasses", 40),
        ("cuptiProfilerHostEvaluateToGpuValues", 72),
        ("cuptiProfilerHostDeinitialize", 24),
        ("cuptiRangeProfilerEnable", 32),
        ("cuptiRangeProfilerGetCounterDataSize", 64),
        ("cuptiRangeProfilerCounterDataImageInitialize", 40),
        ("cuptiRangeProfilerSetConfig", 90),
        ("cuptiRangeProfilerStart", 24),
        ("cuptiRangeProfilerStop", 41),
        ("cuptiRangeProfilerDecodeData", 32),
        ("cuptiRangeProfilerGetCounterDataInfo", 40),
        ("cuptiRangeProfilerCounterDataGetRangeInfo", 56),
        ("cuptiRangeProfilerDisable", 24),
    ],
)
def test_sizes_end_with_the_last_field(call: str, size: int) -> None:
    assert structures.size(call) == size


def test_sizes_are_known_for_every_call() -> None:
    (mark,) = test_sizes_end_with_the_last_field.pytestmark  # type: ignore[attr-defined]
    assert {call for call, _ in mark.args[1]} == set(structures.FIELDS)


def test_narrow_fields_are_where_cupti_reads_them() -> None:
    block = structures.block("cuptiRangeProfilerSetConfig")
    found = [getattr(block, name).offset for name, _ in structures.FIELDS["cuptiRangeProfilerSetConfig"]]
    assert found == [16, 24, 32, 40, 48, 56, 60, 64, 72, 74, 80, 88]


@pytest.mark.parametrize("code", [35, 46, 1])
def test_an_error_is_one_line(code: int) -> None:
    error = CuptiError("cuptiRangeProfilerEnable", code, "CUPTI_ERROR_X", "chip GH100")
    assert str(error).startswith(f"cuptiRangeProfilerEnable: {code} CUPTI_ERROR_X")
    assert str(error).endswith("(chip GH100)")
    assert "\n" not in str(error)
    assert ("NVreg_RestrictProfilingToAdminUsers=0" in str(error)) == (code == 35)


def test_a_file_that_is_no_library_is_a_cupti_error(tmp_path: Path) -> None:
    path = tmp_path / "libcupti.so.13"
    path.write_text("no library")
    with pytest.raises(CuptiError, match="dlopen"):
        Library(path)


def test_the_mapped_library_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maps = tmp_path / "maps"
    maps.write_text(
        "7f0-7f1 r-xp 00000000 08:01 1 /lib/libcuda.so.1\n7f0-7f1 rw-p 00000000 00:00 0 \n"
        "7f0-7f1 r-xp 00000000 08:01 3 /triton/backends/libcupti.so.12\n"
        "7f1-7f2 r-xp 00000000 08:01 2 /a folder/libcupti.so.13\n"
    )
    monkeypatch.setattr(library, "_MAPS", maps)
    assert library.find() == Path("/a folder/libcupti.so.13")


@installed
def test_without_one_mapped_the_installed_library_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "_MAPS", tmp_path / "none")
    found = library.find()
    assert found is not None
    assert Library(found).version >= 130000


@installed
class TestHostHalf:
    """CUPTI's own answers for a GH100, without a device."""

    def test_its_version_has_the_range_profiler(self, cupti: Library) -> None:
        assert cupti.version >= 130000

    @pytest.mark.parametrize("name", METRIC_SETS)
    def test_every_set_is_one_pass(self, cupti: Library, name: str) -> None:
        with Host(cupti, "GH100", METRIC_SETS[name]) as host:
            assert host.passes == 1
            assert any(host.config)

    def test_what_needs_two_passes_says_two(self, cupti: Library) -> None:
        assert metrics.passes(cupti, "GH100", ["sm__ops_path_tensor_src_fp16.sum"]) == 2

    def test_an_unknown_metric_is_an_error_of_one_line(self, cupti: Library) -> None:
        with pytest.raises(CuptiError, match=r"^cuptiProfilerHostConfigAddMetrics: \d+ CUPTI_\w+ \(no__such.sum") as it:
            Host(cupti, "GH100", ["no__such.sum"])
        assert "\n" not in str(it.value)

    def test_an_unknown_chip_is_an_error(self, cupti: Library) -> None:
        with pytest.raises(CuptiError, match=r"46 CUPTI_ERROR_INVALID_CHIP_NAME; .* \(chip XX100\)"):
            Host(cupti, "XX100", METRIC_SETS["memory"])

    def test_a_plan_leaves_out_what_a_chip_does_not_have(self, cupti: Library) -> None:
        problems: list[str] = []
        (plan,) = metrics.plan(cupti, "GA100", ["tensor"], problems)
        assert plan.name == "tensor"
        assert plan.host.metrics == ("sm__ops_path_tensor_src_bf16_dst_fp32.sum", "l1tex__t_bytes.sum")
        (problem,) = problems
        assert problem.startswith("tensor: ")
        assert "sm__ops_path_tensor_src_fp8.sum on GA100" in problem

    def test_a_set_of_several_passes_becomes_several_windows(
        self, cupti: Library, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        many = [f"sm__ops_path_tensor_src_{name}.sum" for name in ("bf16_dst_fp32", "tf32_dst_fp32", "fp8", "fp16")]
        monkeypatch.setitem(METRIC_SETS, "many", tuple(many))
        problems: list[str] = []
        plans = metrics.plan(cupti, "GH100", ["many"], problems)
        assert [(plan.name, plan.host.metrics, plan.host.passes) for plan in plans] == [
            ("many_1", (many[0], many[2]), 1),
            ("many_2", (many[1],), 1),
        ]
        assert problems == [f"many: {many[3]} needs 2 passes on GH100; expected one"]

    def test_a_call_it_does_not_have_is_an_error(self, cupti: Library, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(structures.FIELDS, "cuptiOfTomorrow", ())
        with pytest.raises(CuptiError, match="cuptiOfTomorrow: not in libcupti"):
            cupti.call("cuptiOfTomorrow")


@given(st.lists(st.integers(1, 9), max_size=12))
def test_packing_keeps_every_metric_once_in_groups_that_fit(sizes: list[int]) -> None:
    named = [f"{index}:{size}" for index, size in enumerate(sizes)]

    def fits(group: Sequence[str]) -> bool:
        return sum(int(name.partition(":")[2]) for name in group) <= 9

    groups = metrics.packed(named, fits)
    assert sorted(name for group in groups for name in group) == sorted(named)
    assert all(fits(group) for group in groups)
    assert not any(fits([*one, *other]) for one, other in pairwise(groups))


def test_a_round_makes_its_calls_in_order() -> None:
    fake = FakeLibrary(rounds=[(4, 5)])
    with profiler(fake) as counting:
        counting.configure()
        counting.start()
        counting.stop()
        counting.decode()
        assert counting.ranges() == [Range(4, (40.0, 41.0, 42.0)), Range(5, (50.0, 51.0, 52.0))]
    assert [call.removeprefix("RangeProfiler") for call in fake.calls if call.startswith("RangeProfiler")] == [
        "Enable",
        "GetCounterDataSize",
        "CounterDataImageInitialize",
        "SetConfig",
        "Start",
        "Stop",
        "DecodeData",
        "GetCounterDataInfo",
        *["CounterDataGetRangeInfo"] * 2,
        "Disable",
    ]


@pytest.mark.parametrize("ranges", [4, 4096])
def test_a_pass_holds_what_the_image_holds(ranges: int) -> None:
    """A pass of fewer ranges ends silently: 256 of them counted 512 of 1,503 kernels on an H200."""
    given: dict[str, Any] = {}

    class Noting(FakeLibrary):
        def call(self, call: str, about: str = "", **fields: Any) -> Any:
            given.update(fields)
            return super().call(call, about, **fields)

    with RangeProfiler(Host(Noting(), "GH100", ["a.sum"]), 1, ranges=ranges) as counting:
        assert given["ranges"] == ranges
        counting.configure()
    assert given["ranges_per_pass"] == ranges


def test_ranges_come_in_launch_order() -> None:
    with profiler(FakeLibrary(rounds=[(6, 4, 5)])) as counting:
        assert [one.number for one in counting.ranges()] == [4, 5, 6]


def test_after_a_failed_configuration_nothing_starts() -> None:
    fake = FakeLibrary(failing="cuptiRangeProfilerSetConfig")
    with profiler(fake) as counting:
        with pytest.raises(CuptiError, match="SetConfig: 1"):
            counting.configure()
        with pytest.raises(CuptiError, match="Start: not called"):
            counting.start()
    assert "RangeProfilerStart" not in fake.calls
    assert fake.calls[-1] == "RangeProfilerDisable"


def test_a_second_failed_configuration_takes_the_first_back() -> None:
    fake = FakeLibrary()
    with profiler(fake) as counting:
        counting.configure()
        fake.failing = "cuptiRangeProfilerSetConfig"
        with pytest.raises(CuptiError):
            counting.configure()
        with pytest.raises(CuptiError, match="not called"):
            counting.start()


def test_work_that_fails_leaves_nothing_started() -> None:
    fake = FakeLibrary()

    def fail() -> None:
        with profiler(fake) as counting:
            counting.configure()
            counting.start()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert fake.calls[-2:] == ["RangeProfilerStop", "RangeProfilerDisable"]


def test_an_image_that_cannot_be_sized_disables_again() -> None:
    fake = FakeLibrary(failing="cuptiRangeProfilerGetCounterDataSize")
    with pytest.raises(CuptiError):
        profiler(fake)
    assert fake.calls[-1] == "RangeProfilerDisable"


def event(cat: str, name: str, ts: float, dur: float = 1.0, **args: Any) -> dict[str, Any]:
    return {"ph": "X", "cat": cat, "name": name, "pid": 1, "tid": 1, "ts": ts, "dur": dur, "args": args}


def trace(*events: dict[str, Any]) -> bytes:
    return json.dumps({"schemaVersion": 1, "traceEvents": list(events)}).encode()


TWO_STEPS = (
    event("user_annotation", "b", 200.0, 50.0),
    event("user_annotation", "a", 100.0, 50.0),
    event("gpu_user_annotation", "a", 150.0, 70.0),
    event("cuda_runtime", "cudaLaunchKernel", 110.0, correlation=1),
    event("cuda_driver", "cuLaunchKernelEx", 120.0, correlation=2),
    event("cuda_runtime", "cudaLaunchKernel", 210.0, correlation=3),
    event("cuda_runtime", "cudaMemcpyAsync", 130.0, correlation=4),
    event("kernel", "second", 160.0005, 2.001, correlation=2),
    event("kernel", "WaitNs", 151.0, correlation=1),
    event("kernel", "WaitNs(unsigned long)", 152.0, correlation=1),
    event("kernel", "first", 153.0, 1.5, correlation=1),
    event("gpu_memcpy", "Memcpy DtoD", 170.0, correlation=4),
    event("gpu_memset", "Memset", 171.0, correlation=4),
    event("kernel", "third", 260.0, 3.0, correlation=3),
    {"ph": "M", "name": "process_name", "pid": "Spans", "args": {"name": "python"}},
)


def test_kernels_are_in_start_order_with_the_step_that_launched_them() -> None:
    assert join.kernels(trace(*TWO_STEPS), ["a", "b"]) == [
        Kernel("first", 153_000, 1_500, 0, 110_000),
        Kernel("second", 160_000, 2_001, 0, 120_000),
        Kernel("third", 260_000, 3_000, 1, 210_000),
    ]


def test_a_kernel_launched_outside_of_every_step_has_none() -> None:
    assert [kernel.step for kernel in join.kernels(trace(*TWO_STEPS), ["b"])] == [None, None, 0]


def test_a_kernel_whose_launch_is_lost_is_of_the_step_that_it_ran_in() -> None:
    lost = event("kernel", "lost", 240.0)
    assert [kernel.step for kernel in join.kernels(trace(*TWO_STEPS, lost), ["a", "b"])] == [0, 0, 1, 1]


def test_a_kernel_has_the_number_of_its_device() -> None:
    kernels = [event("kernel", f"on {device}", 210.0 + device, device=device) for device in (0, 1)]
    found = join.kernels(trace(*TWO_STEPS[:2], *kernels), ["a", "b"])
    assert [(kernel.name, kernel.device) for kernel in found] == [("on 0", 0), ("on 1", 1)]


def test_texts_among_the_arguments_of_other_events_do_no_harm() -> None:
    odd = event("cpu_op", "x", 1.0, bytes="many", stream="default", device="cuda:0", correlation="none")
    assert len(join.kernels(trace(*TWO_STEPS, odd), ["a"])) == 3


def ranges(*numbers: int) -> list[Range]:
    return [Range(number, (float(number),)) for number in numbers]


def launched(*steps: int | None) -> list[Kernel]:
    return [Kernel(f"k{index}", index, 1, step) for index, step in enumerate(steps)]


def test_the_ranges_of_a_step_are_its_kernels() -> None:
    kernels = launched(0, None, 0, 1)
    assert join.of_step(0, ranges(5, 6), kernels) == [kernels[0], kernels[2]]
    assert join.of_step(1, ranges(0), kernels) == kernels[3:]
    assert join.of_step(2, [], kernels) == []


@pytest.mark.parametrize(
    ("counted", "kernels", "reason"),
    [
        (ranges(1, 3), launched(0, 0), "range 3 follows range 1"),
        (ranges(1, 1), launched(0, 0), "range 1 follows range 1"),
        (ranges(1), launched(0, 0), "1 ranges for 2 kernels"),
        (ranges(1, 2), launched(0, 1, 1), "2 ranges for 1 kernels"),
        (ranges(1, 2), launched(None, None), "2 ranges for 0 kernels"),
        ([], launched(0), "0 ranges for 1 kernels"),
        (ranges(1), [], "the trace has no kernel; look for another profiler"),
    ],
)
def test_what_does_not_fit_is_refused(counted: list[Range], kernels: list[Kernel], reason: str) -> None:
    with pytest.raises(JoinError, match=reason):
        join.of_step(0, counted, kernels)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=5), st.data())
def test_a_lost_range_is_always_noticed(counts: list[int], data: st.DataObject) -> None:
    kernels = launched(*(step for step, count in enumerate(counts) for _ in range(count)))
    steps = [ranges(*range(100 * step, 100 * step + count)) for step, count in enumerate(counts)]
    joined = [join.of_step(step, own, kernels) for step, own in enumerate(steps)]
    assert [len(own) for own in joined] == counts
    assert [kernel for own in joined for kernel in own] == kernels
    if kernels:
        step = data.draw(st.sampled_from([step for step, count in enumerate(counts) if count]))
        del steps[step][data.draw(st.integers(0, counts[step] - 1))]
        with pytest.raises(JoinError):
            join.of_step(step, steps[step], kernels)


@pytest.mark.parametrize(
    ("ours", "others", "expected"),
    [
        (["f", "g"], ["f", "g"], None),
        (["f", "g"], ["f", "h"], "kernel 1 is 'g' in one and 'h' in the other"),
        (["f"], ["f", "g"], "1 kernels in one and 2 in the other"),
    ],
)
def test_the_first_difference_is_named(ours: list[str], others: list[str], expected: str | None) -> None:
    assert join.difference(ours, others) == expected


@reference
@pytest.mark.parametrize(
    ("name", "kernels"), [("ar_decode", 1492), ("ar_decode_b16", 1460), ("dlm_full", 1244), ("dlm_prefix", 1339)]
)
def test_real_steps_are_cut_where_their_launches_say(name: str, kernels: int) -> None:
    found = join.kernels(
        gzip.decompress((SHARED / f"{name}.json.gz").read_bytes()),
        [f"phase={name.removesuffix('_b16')} step={step}" for step in (0, 1)],
    )
    assert [kernel.step for kernel in found] == [0] * kernels + [1] * kernels
    steps = [join.of_step(step, ranges(*range(kernels)), found) for step in (0, 1)]
    assert join.difference(*([kernel.name for kernel in own] for own in steps)) is None
    with pytest.raises(JoinError, match="range 700 follows range 698"):
        join.of_step(0, ranges(*range(699), *range(700, kernels)), found)
