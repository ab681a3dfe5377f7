"""A profiler that sees no kernel, and labels that change no kernel and leave nothing behind."""

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
    labels, call = Labels(), torch.nn.Module.__call__

    def recorded() -> set[str]:
        cpu = [torch.profiler.ProfilerActivity.CPU]
        with torch.profiler.profile(activities=cpu, acc_events=True) as profiler, labels.range("module=sampling"):
            llama.forward(torch.arange(4)[None], torch.arange(4), View())
        return {event.name for event in profiler.events() if "=" in event.name}

    assert recorded() == set()
    with labels.attached(llama.network):
        assert {"module=sampling", "module=lm_head", "module=model.layers.0"} <= recorded()
    assert recorded() == set()
    assert torch.nn.Module.__call__ is call


def test_labels_leave_fused_modules_fused() -> None:
    """With hooks on its parts, PyTorch's encoder would run them one by one."""
    layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    cpu = [torch.profiler.ProfilerActivity.CPU]
    with Labels().attached(torch.nn.Sequential(layer)) as _, torch.profiler.profile(activities=cpu) as profiler:
        layer(torch.zeros(1, 4, 8))
    names = {event.name for event in profiler.events()}
    assert {"module=0", "aten::_transformer_encoder_layer_fwd"} <= names


def test_the_trace_is_read_before_another_profiler_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kineto's next session takes the memory of the device's activities."""
    read: list[str] = []

    def text(_: object) -> str:
        read.append("text")
        return "{}"

    monkeypatch.setattr(profiling, "_text", text)
    tracing = profiling.Tracing(torch.device("cpu"), Labels(), [], observed=False)
    tracing.stop()
    assert read == ["text"]
    tracing.result()
    assert read == ["text"]


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
