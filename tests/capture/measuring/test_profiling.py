"""A profiler that sees no kernel, and labels that leave no hooks behind."""

from pathlib import Path
from typing import Any

import pytest
import torch

from ridgeline.capture.decoder.attention import View
from ridgeline.capture.decoder.decoder import Decoder
from ridgeline.capture.errors import CaptureError
from ridgeline.capture.labels import Labels
from ridgeline.capture.measuring import profiling
from tests.capture.measuring.test_cleaning import TRACE


class Blind:
    """A profiler that writes a trace without a kernel."""

    def export_chrome_trace(self, path: str) -> None:
        Path(path).write_text(TRACE)


def test_a_profiler_that_sees_no_kernel_is_found_out(tmp_path: Path) -> None:
    profiler: Any = Blind()
    with pytest.raises(CaptureError, match="the profiler saw no kernel on the device"):
        profiling._export(profiler, tmp_path, "trace", on_device=True)


def test_labels_cost_nothing_until_attached_and_leave_nothing_behind(llama: Decoder) -> None:
    labels = Labels()

    def recorded() -> set[str]:
        cpu = [torch.profiler.ProfilerActivity.CPU]
        with torch.profiler.profile(activities=cpu, acc_events=True) as profiler, labels.range("module=sampling"):
            llama.forward(torch.arange(4)[None], torch.arange(4), View())
        return {event.name for event in profiler.events() if "=" in event.name}

    assert recorded() == set()
    with labels.attached(llama.network):
        assert {"module=sampling", "module=lm_head", "module=model.layers.0"} <= recorded()
    assert recorded() == set()
    assert not llama.network.lm_head._forward_hooks
