"""Both ways to decode a piece: event by event, and by the scanner, which takes traces of any size in these tests."""

from __future__ import annotations

import pytest

from ridgeline.analyze.reading import early_start


@pytest.fixture(params=["event by event", "scanned"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "scanned":
        monkeypatch.setattr(early_start, "SCANNED_BYTES", 0)
