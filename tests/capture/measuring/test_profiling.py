"""The header of a stored trace, its events byte for byte, and labels that leave no hooks behind."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ridgeline.capture.decoder.attention import View
from ridgeline.capture.decoder.decoder import Decoder
from ridgeline.capture.errors import CaptureError
from ridgeline.capture.labels import Labels
from ridgeline.capture.measuring import profiling
from ridgeline.capture.measuring.profiling import clean

TRACE = """
  {
    "schemaVersion": 1,
    "deviceProperties": [
    { "id": 0, "name": "NVIDIA H200" }
    ],
      "hostname": "node17", "PT_PROFILER_JOB_NAME": "alice",
      "record_shapes": 1,
  "distributedInfo": {"backend": "gloo", "rank": 1, "world_size": 2, "pg_config": [{"pg_name": "alice"}]},
  "baseTimeNanoseconds": 1790857026000000000,
  "traceEvents": [
  { "ph": "X", "name": "a ] b", "args": { "Input Dims": [[1], []] } }
  ],
  "traceName": "/home/alice/runs/trace.raw.json" }"""


def test_only_listed_header_keys_stay() -> None:
    cleaned = json.loads(clean(TRACE, trace_name="trace.json"))
    assert cleaned == {
        "schemaVersion": 1,
        "deviceProperties": [{"id": 0, "name": "NVIDIA H200"}],
        "record_shapes": 1,
        "distributedInfo": {"backend": "gloo", "rank": 1, "world_size": 2},
        "baseTimeNanoseconds": 1790857026000000000,
        "traceEvents": [{"ph": "X", "name": "a ] b", "args": {"Input Dims": [[1], []]}}],
        "traceName": "trace.json",
    }


def test_events_are_left_as_they_were_written() -> None:
    events = '"traceEvents": [\n  { "ph": "X", "name": "a ] b", "args": { "Input Dims": [[1], []] } }\n  ]'
    assert events in clean(TRACE, trace_name="trace.json")


def test_compiled_kernels_keep_their_file_and_lose_its_folder() -> None:
    event = '"kernel_backend": "triton", "kernel_file": "/tmp/torchinductor_alice/3k/c3kyp.py", "kernel_hash": "c3kyp"'
    cleaned = clean(TRACE.replace('"Input Dims": [[1], []]', event), trace_name="trace.json")
    assert "alice" not in cleaned
    (only,) = json.loads(cleaned)["traceEvents"]
    assert only["args"] == {"kernel_backend": "triton", "kernel_file": "c3kyp.py", "kernel_hash": "c3kyp"}


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
