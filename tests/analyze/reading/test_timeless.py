"""Activities that start at 0: with a time where times begin near 0, without one if their launch began later."""

from __future__ import annotations

from pathlib import Path

import pytest

from ridgeline.analyze.reading.parts import read_part
from ridgeline.analyze.reading.trace import assemble
from tests.analyze import kineto

pytestmark = pytest.mark.usefixtures("either_way")


@pytest.mark.parametrize(("launched_us", "left_out"), [(0.0, (0, 0, 0)), (3.0, (1, 5_000, 0))])
def test_a_kernel_at_0_has_no_time_if_it_was_launched_later(
    launched_us: float, left_out: tuple[int, int, int], tmp_path: Path
) -> None:
    events = [kineto.launch(launched_us, 1), kineto.kernel("k", 0.0, 5.0, 1), kineto.operator("aten::mm", 1.0, 50.0, 2)]
    path = kineto.write(tmp_path / "t.json", events)
    trace = assemble([read_part(path)], path)
    assert (trace.reading.timeless, len(trace.device)) == (left_out, 1 - left_out[0])
