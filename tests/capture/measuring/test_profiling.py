"""A profiler that sees no kernel, and labels that leave no hooks behind."""

import warnings
from typing import Any

import pytest
import torch

from ridgeline.capture.decoder.attention import View
from ridgeline.capture.decoder.decoder import Decoder
from ridgeline.capture.errors import CaptureError
from ridgeline.capture.measuring import profiling
from ridgeline.capture.measuring.labels import Labels


def test_a_profiler_that_sees_no_kernel_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiling, "synchronize", lambda device: None)
    tracing = profiling.Tracing(torch.device("cpu"), Labels(), [], observed=False)
    tracing.stop()
    tracing._device = torch.device("cuda")
    with pytest.raises(CaptureError, match="the profiler saw no kernel on the device"):
        tracing.result()


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


def test_warnings_of_the_profiler_are_ignored_and_no_other_is_shown_again() -> None:
    registry: Any = {}
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        before = list(warnings.filters)
        for _ in range(3):
            with profiling.quiet_warnings():
                warnings.warn_explicit("theirs", UserWarning, "profiler.py", 1, module="torch.profiler.profiler")
            warnings.warn_explicit("once", UserWarning, "mine.py", 1, module="mine", registry=registry)
        assert list(warnings.filters) == before
    assert [str(warning.message) for warning in shown] == ["once"]
