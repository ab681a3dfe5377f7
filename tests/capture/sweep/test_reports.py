"""What a sweep says of its points: each as soon as it is done, and of those there before what they lack."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from ridgeline import capturing
from ridgeline.capture.configuration.presets import PRESETS
from ridgeline.capture.recording import run_directory
from ridgeline.capture.records import Timing
from ridgeline.capture.sweep import sweep
from ridgeline.capture.sweep.sweep import RunResult
from tests.capture.benches import PLACE, Fake, make_point


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "Bench", Fake)
    monkeypatch.setattr(sweep, "Worker", Fake)


@pytest.mark.usefixtures("fake")
def test_a_point_is_reported_before_the_next_one_runs(tmp_path: Path) -> None:
    points = [make_point("a"), make_point("plain"), make_point("b")]
    seen: list[tuple[str, list[str]]] = []

    def report(result: RunResult) -> None:
        seen.append((result.name, [point.name for point in points if (tmp_path / point.name).exists()]))

    results = sweep.run(points, tmp_path, report=report, counters="off", isolate=False)
    assert seen == [("a", ["a"]), ("plain", ["a", "plain"]), ("b", ["a", "plain", "b"])]
    assert [result.name for result in results] == ["a", "plain", "b"]


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
def test_a_line_is_printed_as_soon_as_its_point_is_done(
    tmp_path: Path, terminal: bool, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal too, where a bar is drawn below."""
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    printed: list[str] = []
    real = Fake.record

    def record(self: Fake, *arguments: Any) -> Any:
        printed.append(capfd.readouterr().err)
        return real(self, *arguments)

    monkeypatch.setattr(Fake, "record", record)
    capturing.captured([make_point("first"), make_point("second")], tmp_path, "off")
    assert "ridgeline: first" not in printed[0]
    assert "ridgeline: first: 4000000000.0 tokens/s" in printed[1]


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    ("counted", "asked", "note"),
    [
        ("cupti", "cupti", None),
        ("cupti", "auto", None),
        ("cupti", "off", None),
        ("cupti", "ncu", "its counters are from cupti, not ncu: remove the run to count again"),
        ("off", "auto", "it has no counters: remove the run to count again"),
        ("off", "off", None),
    ],
)
def test_a_point_that_lacks_the_counters_asked_for_is_not_skipped_silently(
    tmp_path: Path, counted: str, asked: str, note: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = msgspec.structs.replace(PLACE.environment, device_kind="cuda")
    monkeypatch.setattr("tests.capture.benches.PLACE", msgspec.structs.replace(PLACE, environment=elsewhere))
    sweep.run([make_point("a")], tmp_path, counters=counted, isolate=False)
    (again,) = sweep.run([make_point("a")], tmp_path, counters=asked, isolate=False)
    assert (again.skipped, again.note) == (True, note)
    assert again.headline() == "a: captured before, skipped" + (f"; {note}" if note else "")


@pytest.mark.usefixtures("fake")
def test_a_point_of_another_experiment_is_not_skipped_silently(tmp_path: Path) -> None:
    sweep.run([make_point("a")], tmp_path, isolate=False)
    after = msgspec.structs.replace(make_point("a"), experiment="after")
    (again,) = sweep.run([after], tmp_path, isolate=False)
    before = make_point("a").experiment
    assert again.note == (f"it belongs to experiment {before}, not after: choose another --out to capture it again")


@pytest.mark.parametrize(
    ("told", "asked", "note"),
    [
        ({"outcome": "ok", "ncu": {"step": 1, "kernels": 9}}, "ncu", None),
        (
            {"outcome": "ok", "ncu": {"step": 1, "kernels": 9}},
            "cupti",
            "its counters are from ncu, not cupti: remove the run to count again",
        ),
        (
            {"outcome": "ok", "method": "cupti", "ncu": {"outcome": "failed", "reason": "none"}},
            "ncu",
            "its counters are from cupti, not ncu: remove the run to count again",
        ),
        (
            {"outcome": "failed", "reason": "no permission", "method": "cupti"},
            "auto",
            "it has no counters (no permission): remove the run to count again",
        ),
    ],
)
def test_what_a_record_tells_of_its_counters(told: dict[str, Any], asked: str, note: str | None) -> None:
    environment = msgspec.structs.replace(PLACE.environment, device_kind="cuda")
    record = run_directory.unfinished(make_point("a"), environment, outcome="ok", message="")
    record.counters = told
    assert sweep._missing_counters(record, asked) == note


@pytest.mark.parametrize(
    ("model", "mode", "headless"),
    [("tiny-llada", "dlm_block_causal", 3), ("tiny-dream", "dlm_block_causal", 0), ("tiny-llama", "ar", 0)],
)
def test_the_head_is_read_by_forwards_that_run_it(model: str, mode: str, headless: int) -> None:
    record = run_directory.unfinished(make_point(model=model, mode=mode), PLACE.environment, outcome="ok", message="")
    record.tokens = {"committed": 4, "forwards": {"prefill": 1, "reuse": 4, "commit": 2}}
    record.timings = [
        Timing(metric=metric, phase=None, kind=None, step=None, repeat=0, value_ns=10**9, started_ns=0)
        for metric in ("end_to_end", "ttft")
    ]
    shape = PRESETS[model]
    expected = 4 * (7 * shape.streamed_parameters - headless * shape.vocabulary * shape.hidden)
    assert sweep.summarize(record, Path()).weights_bytes_per_s == expected


def test_nobody_expects_counters_of_a_cpu() -> None:
    record = run_directory.unfinished(make_point("a"), PLACE.environment, outcome="ok", message="")
    assert sweep._missing_counters(record, "auto") is None


@pytest.mark.parametrize(
    ("rate", "said"),
    [
        (512.0, "512 B/s"),
        (45_678.0, "45.7 kB/s"),
        (12_345_678.0, "12.3 MB/s"),
        (999_400_000.0, "999 MB/s"),
        (999_500_000.0, "1 GB/s"),
        (3.84e12, "3.84 TB/s"),
        (5e14, "500 TB/s"),
    ],
)
def test_a_rate_has_the_unit_of_its_size(rate: float, said: str) -> None:
    """Tiny weights on a CPU are not read at 0 GB/s."""
    result = RunResult(name="a", outcome="ok", path=Path(), tokens_per_s=1.0, weights_bytes_per_s=rate)
    assert result.headline().endswith(f", weights read at {said}")


def test_no_rate_is_said_where_there_is_none() -> None:
    result = RunResult(name="a", outcome="ok", path=Path(), tokens_per_s=1.0, step_ms={"decode": 2.0})
    assert result.headline() == "a: 1.0 tokens/s, decode 2.00 ms"
