"""The header of a stored trace, and its events byte for byte."""

import io
import json

import pytest

from ridgeline.capture.measuring import cleaning
from ridgeline.capture.measuring.cleaning import clean

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


@pytest.mark.parametrize(
    "after", ['"hostname": "node17"', '"list": [1, "node17"]', '"hosts": [{"of": [{"a": "node17"}]}]']
)
def test_only_listed_keys_stay_after_the_events(after: str) -> None:
    trace = TRACE.replace('"traceName"', f'"displayTimeUnit": "ms", {after}, "traceName"')
    cleaned = json.loads(clean(trace, trace_name="trace.json"))
    assert "node17" not in json.dumps(cleaned)
    assert (cleaned["traceName"], cleaned["displayTimeUnit"]) == ("trace.json", "ms")
    assert len(cleaned["traceEvents"]) == 1


def test_a_long_trace_is_copied_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleaning, "_BLOCK_BYTES", 97)
    monkeypatch.setattr(cleaning, "_TAIL_BYTES", 60)
    event = '{ "ph": "X", "cat": "kernel", "name": "k", "args": { "kernel_file": "/home/alice/c.py" } }'
    trace = TRACE.replace('{ "ph": "X"', ",".join([event] * 20) + ',{ "ph": "X"')
    target = io.BytesIO()
    words = [b'"cat": "kernel"', b'"cat": "cpu_op"']
    done = cleaning.copy(io.BytesIO(trace.encode()), target, trace_name="t.json", words=words)
    assert done.words == {b'"cat": "kernel"'}
    assert b"alice" not in target.getvalue()
    events = json.loads(target.getvalue())["traceEvents"]
    assert [each["args"] for each in events[:-1]] == [{"kernel_file": "c.py"}] * 20
    assert done.header["deviceProperties"] == [{"id": 0, "name": "NVIDIA H200"}]


@pytest.mark.parametrize("length", [0, 40, 300, TRACE.index("[]] }") + 5, len(TRACE) - 1])
def test_a_trace_that_is_still_being_written_is_told_from_a_file_of_another_kind(length: int) -> None:
    with pytest.raises(cleaning.Unfinished):
        clean(TRACE[:length], trace_name="trace.json")
    with pytest.raises(ValueError, match="traceEvents"):
        clean("[1, 2]", trace_name="trace.json")
