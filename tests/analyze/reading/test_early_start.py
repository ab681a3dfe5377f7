"""Decoders that start before the command line is parsed: for which calls, and that they are used or end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ridgeline.analyze.reading import early_start
from ridgeline.analyze.reading.decoders import Decoders
from tests.analyze import kineto


class Started:
    """A child that does nothing."""

    def __init__(self, program: str, *, without_site: bool) -> None:
        assert (program, without_site) == (early_start.PROGRAM, True)
        self.received: list[object] = []
        self.was_killed = False

    def send(self, message: object) -> None:
        self.received.append(message)

    def kill(self) -> None:
        self.was_killed = True


@pytest.fixture(autouse=True)
def _stubs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(early_start, "Child", Started)
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    yield
    early_start.started.clear()


@pytest.fixture
def trace(tmp_path: Path) -> str:
    path = kineto.write(tmp_path / "t.json", kineto.matmul_step())
    (tmp_path / "w.duckdb").write_bytes(path.read_bytes())
    return str(path)


def count(*arguments: str) -> int:
    early_start.start(arguments)
    return len(early_start.started)


@pytest.mark.parametrize(
    ("child_bytes", "part_bytes", "split_bytes", "children"),
    [(1 << 20, 1 << 20, 1 << 20, 0), (1, 1 << 20, 1 << 20, 1), (1, 1 << 10, 1 << 20, 2), (1, 1, 1, 3)],
)
def test_a_large_trace_gets_as_many_children_as_it_is_divided_among(
    trace: str, monkeypatch: pytest.MonkeyPatch, child_bytes: int, part_bytes: int, split_bytes: int, children: int
) -> None:
    monkeypatch.setattr(early_start, "CHILD_BYTES", child_bytes)
    monkeypatch.setattr(early_start, "PART_BYTES", part_bytes)
    monkeypatch.setattr(early_start, "SPLIT_BYTES", split_bytes)
    assert count(trace, "-w", "w.duckdb") == children


def test_the_scanner_of_a_large_trace_is_compiled_first(trace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(early_start, "CHILD_BYTES", 1)
    monkeypatch.setattr(early_start, "SCANNED_BYTES", Path(trace).stat().st_size)
    assert count(trace) == 1
    assert [child.received for child in early_start.started] == [[early_start.SCANNER]]  # type: ignore[attr-defined]
    assert early_start.SCANNER.is_file()


@pytest.mark.parametrize("options", [["--jobs", "1"], ["--memory=1GB"], ["--help"]])
def test_options_that_limit_children_start_none(
    trace: str, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    monkeypatch.setattr(early_start, "CHILD_BYTES", 1)
    assert count(trace, *options) == 0


def test_other_files_and_missing_ones_start_none(trace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(early_start, "CHILD_BYTES", 1)
    assert count(str(Path(trace).with_name("w.duckdb")), "none.json", "a\0.json", str(Path(trace).parent)) == 0


def test_a_child_that_does_not_start_is_left_to_whoever_needs_it(trace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(program: str, **_: bool) -> None:
        raise OSError(program)

    monkeypatch.setattr(early_start, "CHILD_BYTES", 1)
    monkeypatch.setattr(early_start, "Child", fail)
    assert count(trace) == 0


def test_the_pool_uses_started_children_first_and_ends_the_others(trace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ridgeline.analyze.reading.decoders.CHILD_BYTES", 1)
    first, second = (Started(early_start.PROGRAM, without_site=True) for _ in range(2))
    monkeypatch.setattr(early_start, "started", [first, second])
    with Decoders(2) as pool:
        pool.submit(Path(trace))
        assert (len(first.received), len(second.received)) == (0, 1)
    assert (first.was_killed, second.was_killed, early_start.started) == (True, True, [])
