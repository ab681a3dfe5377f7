"""Traces of other writers, devices and versions, loaded together: what is read, and what is said of the rest."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ridgeline.analyze.ingest import Result, analyze
from tests.analyze import kineto
from tests.analyze.kineto import Event
from tests.analyze.loading import opened, query

SHARED = Path(__file__).parents[3] / "shared" / "cases"
BF16 = "c10::BFloat16"


def product(
    number: int, start_us: float, runtime: str = "cuda_runtime", category: str = "kernel", **args: Any
) -> list[Event]:
    """An operator, its launch and its kernel of 20 us."""
    shapes = ([[4, 64], [64, 32]], [BF16, BF16])
    return [
        kineto.operator("aten::mm", start_us, 10.0, number, *shapes),
        kineto.launch(start_us + 2, number, "launchKernel", runtime),
        kineto.kernel("gemm", start_us + 20, 20.0, number, category=category, **{"External id": number}, **args),
    ]


def products(**changes: Any) -> list[Event]:
    return [event for number in (1, 2) for event in product(number, 1000.0 + 100 * number, **changes)]


def named(device: str) -> dict[str, Any]:
    return {"schemaVersion": 1, "deviceProperties": [{"id": 0, "name": device}]}


def old_kineto() -> list[Event]:
    """PyTorch 1.8: other categories and names of arguments, threads as texts, annotations among the operators."""
    categories = {"cpu_op": "Operator", "cuda_runtime": "Runtime", "kernel": "Kernel", "gpu_memcpy": "Memcpy"}
    events: list[Event] = json.loads(
        json.dumps([*kineto.matmul_step(), kineto.span("cpu_op", "ProfilerStep#5", 0.0, 99.0)])
    )
    for event in events:
        args = event.get("args", {})
        event["cat"] = categories.get(event.get("cat", ""), event.get("cat"))
        if event["cat"] == "Operator":
            event["tid"] = str(event["tid"])
        elif event["cat"] == "Kernel":
            event["tid"] = "stream 7"
        for new, old in (("External id", "external id"), ("Input Dims", "Input dims")):
            if new in args and event["cat"] in categories.values():
                args[old] = args.pop(new)
        for name in ("Input Strides", "Concrete Inputs"):
            args.pop(name, None)
    return events


def timeless() -> list[Event]:
    """Two kernels at 0 and one without a time, among events of a clock that counts from boot."""
    events = products()
    for event, start_us in ((events[2], 0), (events[5], None)):
        event["ts"] = start_us
        if start_us is None:
            del event["ts"]
    return [*events, *product(3, 1500.0), kineto.operator("aten::add", 0, 5.0, 9)]


TRACES: dict[str, tuple[list[Event], dict[str, Any] | None]] = {
    "old": (old_kineto(), None),
    "new": (kineto.matmul_step(), None),
    "xpu": (products(runtime="xpu_runtime", stream=None), named("Intel(R) Data Center GPU Max 1550")),
    "gaudi": (products(runtime="privateuse1_runtime"), named("GAUDI3")),
    "other": (products(runtime="privateuse1_driver"), named("X1")),
    "mtia": (products(runtime="mtia_runtime", category="mtia_ccp_events"), named("A")),
    "mtia_lost": (products(runtime="mtia_runtime", category="mtia_counters"), named("A")),
    "cuda_lost": ([event for event in kineto.matmul_step() if event.get("cat") != "kernel"][:8], None),
    "unknown": (products(runtime="npu_api", category="npu_task"), {"schemaVersion": 1}),
    "marks": ([*products(), kineto.span("my marks", "a", 1100.0, 5.0), kineto.span("<b>\n", "a", 1100.0, 5.0)], None),
    "cpu_marks": ([product(1, 1000.0)[0], kineto.span("my marks", "a", 1000.0, 5.0)], None),
    "timeless": (timeless(), None),
    "rebased": ([kineto.annotation("step=1", 0, 50.0), *product(1, 0)], None),
    "ranges": ([kineto.kernel("r", 9.0 * i, 8.0, category="cuda_profiler_range", m=i) for i in (1, 2)], None),
    "overlapping": ([*products(), kineto.kernel("long", 1105.0, 1e6)], None),
}  # fmt: skip


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Result]]:
    folder = tmp_path_factory.mktemp("writers")
    for name, (events, header) in TRACES.items():
        kineto.write(folder / f"{name}.json", events, header=header)
    (folder / "list.json").write_text(json.dumps(kineto.matmul_step(), sort_keys=True))
    (folder / "no trace.json").write_text('[{"ph": 3}]')
    warehouse = folder / "w.duckdb"
    return warehouse, {result.name: result for result in analyze([folder], warehouse)}


Ask = Callable[[str, str], list[tuple[Any, ...]]]
SAID = "w.message FROM warnings w JOIN runs r USING (run_id) WHERE w.source IN ('reader', 'durations')"


@pytest.fixture
def ask(loaded: tuple[Path, dict[str, Result]]) -> Ask:
    return lambda name, sql: query(loaded[0], f"SELECT {sql} AND name = '{name}' ORDER BY ALL")


def test_all_are_loaded(loaded: tuple[Path, dict[str, Result]]) -> None:
    assert {name: result.outcome for name, result in loaded[1].items()} == dict.fromkeys([*TRACES, "list"], "loaded")


KERNELS = "kernel, operator, attribution, stream, duration_ns, bound FROM kernel_roofline WHERE true"


@pytest.mark.parametrize("name", ["old", "list"])
def test_another_form_gives_what_kinetos_gives(ask: Ask, name: str) -> None:
    kernels = "kernel, operator, attribution, stream, duration_ns, step FROM kernel_roofline WHERE true"
    found, expected = ask(name, kernels), ask("new", kernels)
    assert found == expected
    if name == "old":  # it records no concrete inputs
        assert [row[1:3] for row in found] == [
            ("aten::copy_", "external_id"), ("aten::mm", "external_id"), ("aten::add.Tensor", "external_id"),
            ("aten::mm", "external_id"),
        ]  # fmt: skip
        named = "count(*) FROM runs JOIN operators USING (run_id) WHERE operator LIKE 'ProfilerStep%'"
        assert ask(name, named) == [(0,)]
        assert ask(name, "DISTINCT thread FROM runs JOIN operators USING (run_id) WHERE true") == [("400/400",)]


@pytest.mark.parametrize(
    ("name", "kind"), [("xpu", "xpu"), ("gaudi", "hpu"), ("other", "privateuse1"), ("mtia", "mtia"), ("new", "cuda")]
)
def test_devices_of_other_vendors(ask: Ask, loaded: tuple[Path, dict[str, Result]], name: str, kind: str) -> None:
    assert ask(name, "device_kind FROM runs WHERE true") == [(kind,)]
    if name != "new":
        rows = ask(name, "operator, stream, duration_ns, start_ns FROM kernel_roofline WHERE true")
        assert rows == [("aten::mm", 7, 20_000, 1_120_000), ("aten::mm", 7, 20_000, 1_220_000)]
        launches = "launch_ns FROM runs JOIN kernels USING (run_id) WHERE true"
        assert ask(name, launches) == [(1_102_000,), (1_202_000,)]
    assert ask(name, SAID) == []


LOST = (
    "the operators' time on the host is not device time, so this run has none: record the device's activities "
    "(ProfilerActivity.CUDA or XPU), and end other profilers, which may take them"
)
UNREAD = "events of unknown categories not read: {}: if a device did this work, it is missing here"


@pytest.mark.parametrize(
    ("name", "kind", "warnings"),
    [
        ("mtia_lost", "mtia", [f"2 launches but no activity of a device: {LOST}"]),
        ("cuda_lost", "cuda", [f"2 launches but no activity of a device: {LOST}"]),
        (
            "unknown", "unknown",
            ["4 " + UNREAD.format("2 of 'npu_api', 2 of 'npu_task'"),
             f"events that were not read belong to a process without operators, maybe a device: {LOST}"],
        ),
    ],
)  # fmt: skip
def test_host_time_is_never_device_time(
    ask: Ask, loaded: tuple[Path, dict[str, Result]], name: str, kind: str, warnings: list[str]
) -> None:
    assert ask(name, "device_kind, device_time_ns FROM runs WHERE true") == [(kind, 0)]
    assert ask(name, "kernel FROM kernel_roofline WHERE true") == []
    assert ask(name, SAID) == sorted((line,) for line in warnings)
    assert not set(warnings) - set(loaded[1][name].warnings)  # on stderr


def test_unknown_categories_are_counted_and_cost_nothing(ask: Ask, loaded: tuple[Path, dict[str, Result]]) -> None:
    assert ask("marks", SAID) == [("2 " + UNREAD.format(r"1 of '<b>\n', 1 of 'my marks'"),)]
    assert loaded[1]["marks"].device_time_ns == 40_000
    assert ask("cpu_marks", "device_kind, device_time_ns FROM runs WHERE true") == [("cpu", 10_000)]


def test_events_without_a_time_are_left_out_and_counted(ask: Ask, loaded: tuple[Path, dict[str, Result]]) -> None:
    assert ask("timeless", SAID) == [
        ("no time stamp, or one of 0: 2 device activities of 0.040 ms and 1 host event left out: record again",)
    ]
    assert ask("timeless", "sum(duration_ns) FROM kernel_roofline WHERE true") == [(20_000,)]
    assert ask("rebased", "operator, start_ns, step FROM kernel_roofline WHERE true") == [("aten::mm", 20_000, 1)]
    assert ask("rebased", SAID) == []


def test_durations_that_cannot_be_are_not_summed(ask: Ask, loaded: tuple[Path, dict[str, Result]]) -> None:
    said = (
        "1 device activity runs over the next one of the same stream, which the order of a stream excludes: clipped to "
        "the start of the next, 999.985 ms in all: measure again"
    )
    assert ask("overlapping", SAID) == [(said,)]
    assert ask("overlapping", "duration_ns FROM kernel_roofline WHERE kernel = 'long'") == [(15_000,)]
    assert ask("overlapping", "sum(duration_ns) FROM runs JOIN ledger USING (run_id) WHERE account = 'price'") == [
        (55_000,)
    ]


def test_counter_ranges_of_one_length_have_counters_and_no_time(ask: Ask) -> None:
    assert ask("ranges", "metric, value FROM runs JOIN counters c USING (run_id) WHERE metric = 'm'") == [
        ("m", 1.0),
        ("m", 2.0),
    ]
    assert ask("ranges", "device_time_ns FROM runs WHERE true") == [(0,)]
    assert ask("ranges", "count(*) FROM runs JOIN step_diagnosis USING (run_id) WHERE true") == [(0,)]
    ((said,),) = ask("ranges", SAID)
    assert said.startswith(
        "all 2 counter ranges last 0.008 ms, the length of a pass of the profiler: 0.016 ms not counted"
    )


CASES = {
    "json_array": ("cuda", 600_375, ["aten::mm"], None),
    "windows_backslash": ("cuda", 600_375, ["aten::mm"], "1 text with backslashes"),
    "bad_utf8": ("cuda", 600_375, ["aten::mm"], "1 text with bytes that are not UTF-8"),
    "utf8_bom": ("cuda", 600_375, ["aten::mm"], "a byte order mark"),
    "inf_literal": ("cuda", 600_375, ["aten::mm"], "1 value outside of JSON"),
    "mtia_min": ("mtia", 600_375, ["aten::mm"], None),
    "gaudi": ("hpu", 600_375, ["aten::mm"], None),
    "overflow_dur": ("cuda", 900_375, ["aten::mm"], "1,599.700 ms in all"),
    "rocm_no_correlation": ("hip", 330_000, ["aten::add", "aten::mm"], None),
    "rocm_no_correlation_real": ("hip", 135_000, ["aten::mm"], None),
}


@pytest.mark.skipif(not SHARED.is_dir(), reason="the cases are not beside the project")
def test_the_cases_give_their_right_answers(tmp_path: Path) -> None:
    warehouse = tmp_path / "w.duckdb"
    results = analyze([SHARED / f"{name}.json" for name in CASES], warehouse)
    with opened(warehouse) as connection:
        sums = connection.execute(
            "SELECT r.name, any_value(device_kind), sum(duration_ns), list_sort(list(DISTINCT operator)),"
            " count(*) FILTER (confidence <> 'high') FROM kernel_roofline JOIN runs r USING (run_id) GROUP BY ALL"
        ).fetchall()
        said = connection.execute(f"SELECT r.name, {SAID}").fetchall()
    assert sorted(sums) == sorted((name, *CASES[name][:3], 0) for name in CASES)
    for result in results:
        messages = [message for name, message in said if name == result.name]
        warning = CASES[result.name][3]
        assert [warning in message for message in messages if warning] == ([True] if warning else [])
        assert not set(messages) - set(result.warnings)
