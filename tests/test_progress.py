"""Progress on a terminal: the counts of the bar, and the name beside it."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from rich.progress import Progress

from ridgeline import capturing, terminal
from ridgeline.capture.sweep import sweep
from ridgeline.capture.sweep.sweep import RunResult


class Shown(NamedTuple):
    """A bar after an update."""

    text: str
    done: float
    of: float | None


class Terminal(io.StringIO):
    """Standard error that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Shown]:
    """What the bar shows after each update."""
    updates: list[Shown] = []
    real = Progress.update

    def update(self: Progress, *arguments: Any, **values: Any) -> None:
        real(self, *arguments, **values)
        (task,) = self.tasks
        updates.append(Shown(task.description, task.completed, task.total))

    monkeypatch.setattr(Progress, "update", update)
    return updates


def test_a_bar_counts_points_and_tells_what_is_under_way(
    shown: list[Shown], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(
        points: list[Any], out: Path, *, progress: Callable[[str], None], report: Callable[[RunResult], None], **_: Any
    ) -> list[RunResult]:
        results = []
        for name in points:
            progress(f"{name}: making weights")
            progress(f"{name}: warming up")
            results.append(RunResult(name=name, outcome="oom", path=out / name))
            report(results[-1])
        return results

    monkeypatch.setattr(sweep, "run", run)
    monkeypatch.setattr(sys, "stderr", Terminal())
    points: list[Any] = ["a", "b"]
    capturing.captured(points, tmp_path)
    assert shown == [
        Shown("capturing: a: making weights", 0, 2),
        Shown("capturing: a: warming up", 0, 2),
        Shown("capturing: a", 1, 2),
        Shown("capturing: b: making weights", 1, 2),
        Shown("capturing: b: warming up", 1, 2),
        Shown("capturing: b", 2, 2),
    ]


def test_what_is_named_alone_is_done(shown: list[Shown], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    with terminal.progress("analyzing") as advance:
        advance("a")
        advance("b")
    assert shown == [Shown("analyzing: a", 1, None), Shown("analyzing: b", 2, None)]


def test_a_pipe_stays_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal.progress("analyzing") as advance:
        advance("a")
        advance("b", done=0)
    assert capsys.readouterr() == ("", "")
