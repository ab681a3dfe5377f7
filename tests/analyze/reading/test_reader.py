from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ridgeline.analyze.errors import TraceError
from ridgeline.analyze.reading import reader
from ridgeline.analyze.reading.parts import read_part
from ridgeline.analyze.reading.reader import TraceReader, decode
from tests.analyze import kineto
from tests.analyze.reading.decoded import durations_ns, starts_ns
from tests.sampling import examples

pytestmark = pytest.mark.usefixtures("either_way")

LAYOUTS = ["kineto", "compact"]


def events_of(path: Path) -> list[tuple[str, object, object]]:
    """Name, ts and dur of every complete event, through the reader's pieces."""
    pieces = list(TraceReader(path).pieces())
    return [(str(e.name), e.ts, e.dur) for piece in pieces for e in decode(*piece.array)[0] if e.ph == "X"]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("suffix", [".json", ".json.gz"])
@pytest.mark.parametrize("block_bytes", [1 << 22, 4096, 300])
def test_every_event_comes_out_once_whatever_the_layout_and_block_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str, suffix: str, block_bytes: int
) -> None:
    monkeypatch.setattr(reader, "BLOCK_BYTES", block_bytes)
    events = kineto.matmul_step() * 5
    path = kineto.write(tmp_path / f"t{suffix}", events, layout)
    assert events_of(path) == [(e["name"], e["ts"], e["dur"]) for e in events if e["ph"] == "X"]


@examples("microseconds")
@given(
    names=st.lists(
        st.sampled_from(['},{"ph"', '}, {"name": "x"', "]", "]}", '"traceEvents": [', "\\", "é\u2028", "{lambda()#1}"]),
        max_size=12,
    ),
    block_bytes=st.integers(40, 500),
)
def test_names_that_look_like_cuts_do_not_cut(tmp_path: Path, names: list[str], block_bytes: int) -> None:
    events = [kineto.kernel(name, float(i), 1.0) for i, name in enumerate(names)]
    path = kineto.write(tmp_path / "t.json", events, "compact")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "BLOCK_BYTES", block_bytes)
        columns = read_part(path)
    named = zip(starts_ns(columns), columns.device["name"], strict=True)
    assert [list(columns.names)[code] for _, code in sorted(named)] == names
    assert columns.events == len(names)


def test_a_cut_inside_a_nested_value_joins_its_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "BLOCK_BYTES", 64)
    nested = kineto.kernel("k", 1.0, 2.0, groups=[{"name": f"group {i}", "ts": 99} for i in range(40)])
    path = kineto.write(tmp_path / "t.json", [nested, kineto.kernel("last", 5.0, 1.0)], "compact")
    columns = read_part(path)
    assert starts_ns(columns) == [1000, 5000]


def test_a_last_cut_inside_the_last_event_joins_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "BLOCK_BYTES", 400)
    nested = kineto.kernel("k", 1.0, 2.0, groups=[{"name": f"group {i}", "ts": 99} for i in range(9)])
    path = kineto.write(tmp_path / "t.json", [nested], "compact", header={})
    assert len(path.read_bytes()) > 400
    assert starts_ns(read_part(path)) == [1000]


def test_header_keys_may_stand_on_either_side_of_the_events(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text(
        '{"traceEvents": [], "deviceProperties": [{"id": 3, "name": "D"}, 5, null], "distributedInfo": {"rank": 2}}'
    )
    trace = TraceReader(path)
    assert [b"".join(piece.array) for piece in trace.pieces()] == [b"[]"]
    assert [(device.id, device.name) for device in trace.header.devices] == [(3, "D")]
    assert trace.header.rank == 2


@pytest.mark.parametrize("value", ["null", "3", '["x"]', '[{"name": 5}]', '[{"totalGlobalMem": 1e400}]'])
def test_an_odd_header_costs_no_kernels(tmp_path: Path, value: str) -> None:
    path = tmp_path / "t.json"
    path.write_text(f'{{"traceEvents": [{json.dumps(kineto.kernel("k", 1.0, 1.0))}], "deviceProperties": {value}}}')
    columns = read_part(path)
    assert len(columns.device["name"]) == 1
    assert columns.header is not None
    assert columns.header.devices == []


def test_one_odd_argument_costs_no_other(tmp_path: Path) -> None:
    path = kineto.write(tmp_path / "t.json", [kineto.kernel("k", 1.0, 1.0, 7, stream="0x7f", **{"External id": 5})])
    device = read_part(path).device
    # the thread of a device event is its stream
    assert (list(device["correlation"]), list(device["external_id"]), list(device["stream"])) == ([7], [5], [7])


@pytest.mark.parametrize(
    "number", ["1e400", "1e999999999", "-1e17", str(1 << 62), str(1 << 70), "NaN", "Infinity", "-Infinity"]
)
@pytest.mark.parametrize("field", ["ts", "dur"])
def test_a_time_that_cannot_be_makes_its_event_malformed(tmp_path: Path, field: str, number: str) -> None:
    path = tmp_path / "t.json"
    times = {"ts": "1.0", "dur": "2.0"} | {field: number}
    odd = f'{{"ph": "X", "cat": "kernel", "name": "NaN \\" Infinity", "ts": {times["ts"]}, "dur": {times["dur"]}}}'
    path.write_text(f'{{"traceEvents": [{odd}, {json.dumps(kineto.kernel("NaN", 5.0, 1.0))}]}}')
    columns = read_part(path)
    assert (columns.events, columns.malformed) == (2, 1)
    assert (starts_ns(columns), list(columns.names)) == ([5000], ["NaN"])


@pytest.mark.parametrize("number", [str(1 << 63), str(-(1 << 70)), "NaN", "1e400"])
@pytest.mark.parametrize("field", ["correlation", "External id", "stream", "bytes"])
def test_an_identifier_beyond_64_bits_is_as_if_it_were_not_recorded(tmp_path: Path, field: str, number: str) -> None:
    path = tmp_path / "t.json"
    event = kineto.kernel("k", 1.0, 1.0, **{field: 77}) | {"tid": "stream 1"}
    text = json.dumps(event).replace("77", number)
    path.write_text(f'{{"traceEvents": [{text}]}}')
    columns = read_part(path)
    assert (starts_ns(columns), list(columns.device[field.replace("External id", "external_id")])) == ([1000], [-1])


def test_times_are_exact_nanoseconds_for_small_and_for_epoch_sized_stamps(tmp_path: Path) -> None:
    stamps = ["4584492603619.517", "1679055451546825.123", "1679055451546825", "0.001"]
    events = ",".join(f'{{"ph":"X","cat":"kernel","name":"k","ts":{ts},"dur":0.735,"args":{{}}}}' for ts in stamps)
    path = tmp_path / "t.json"
    path.write_text(f'{{"traceEvents":[{events}]}}')
    columns = read_part(path)
    assert starts_ns(columns) == [int(Decimal(ts) * 1000) for ts in stamps]
    assert set(durations_ns(columns)) == {735}


def test_times_stay_in_order_where_later_ones_need_more_than_doubles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "BLOCK_BYTES", 64)
    stamps = ["1.5", "1679055451546825", "1679055451546825.123", "2.001", "-8796093022207.999", "-8796093022208.999"]
    events = ",".join(f'{{"ph":"X","cat":"kernel","name":"k","ts":{ts},"dur":0.735,"args":{{}}}}' for ts in stamps)
    path = tmp_path / "t.json"
    path.write_text(f'{{"traceEvents":[{events}]}}')
    for folder in (None, tmp_path / "columns"):
        monkeypatch.setattr("ridgeline.analyze.reading.parts.SPILL_ROWS", 1)
        part = read_part(path, folder=folder)
        assert starts_ns(part) == [int(Decimal(ts) * 1000) for ts in stamps]
        assert durations_ns(part) == [735] * len(stamps)


def test_a_malformed_event_is_counted_and_the_others_kept(tmp_path: Path) -> None:
    events = kineto.matmul_step()
    events[3]["ts"] = "soon"
    columns = read_part(kineto.write(tmp_path / "t.json", events))
    assert (columns.malformed, columns.events, columns.rows("operator")) == (1, len(events), 3)


def test_sha256_is_of_the_decompressed_bytes(tmp_path: Path) -> None:
    plain = kineto.write(tmp_path / "a.json", kineto.matmul_step())
    packed = kineto.write(tmp_path / "a.json.gz", kineto.matmul_step())
    assert read_part(plain).sha256 == read_part(packed).sha256


def bad(tmp_path: Path, name: str, data: bytes) -> str:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(TraceError) as caught:
        read_part(path)
    return str(caught.value).removeprefix(f"{path}: ")


def test_what_is_not_a_trace_is_said_in_one_line(tmp_path: Path) -> None:
    assert bad(tmp_path, "empty.json", b"") == "the file is empty: expected a Kineto trace (.json or .json.gz)"
    assert bad(tmp_path, "a.json", b"hello").startswith("not JSON (")
    assert (
        bad(tmp_path, "b.json", b'{"a": 1}')
        == "JSON without traceEvents: expected a Kineto trace, as torch.profiler exports it"
    )
    data = kineto.text(kineto.matmul_step()).encode()
    assert "cut off at byte" in bad(tmp_path, "c.json", data[: len(data) // 2])
    packed = gzip.compress(data)
    assert bad(tmp_path, "d.json.gz", packed[: len(packed) // 2]).startswith("gzip data cut off or damaged after")
    assert bad(tmp_path, "e.json.gz", packed[:20] + b"\xff" * 20 + packed[40:]).startswith(
        "gzip data cut off or damaged"
    )


def test_every_truncation_of_a_small_trace_is_an_error(tmp_path: Path) -> None:
    data = kineto.text(kineto.matmul_step()[:4], "compact").encode()
    for length in range(len(data)):
        assert bad(tmp_path, "t.json", data[:length])


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="No such file"):
        read_part(tmp_path / "none.json")


def test_damage_inside_a_large_trace_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "BLOCK_BYTES", 500)
    data = json.dumps({"traceEvents": kineto.matmul_step() * 20}).encode()
    middle = data.index(b'"ts"', len(data) // 2)
    said = bad(tmp_path, "t.json", data[:middle] + b"!!!!" + data[middle + 4 :])
    assert said.startswith(f"damaged at byte {middle:,}: ")


@pytest.mark.parametrize("block_bytes", [300, 1 << 20])
def test_values_nested_too_deeply_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int) -> None:
    monkeypatch.setattr(reader, "BLOCK_BYTES", block_bytes)
    deep = json.dumps(kineto.kernel("k", 1.0, 1.0, x=5)).replace('"x": 5', '"x": ' + "[" * 10_000 + "]" * 10_000)
    data = f'{{"traceEvents": [{json.dumps(kineto.kernel("k", 1.0, 1.0))}, {deep}]}}'.encode()
    assert "nested more deeply than in any trace" in bad(tmp_path, "t.json", data)


@pytest.mark.parametrize("category", ["kernel", "cpu_op", "cuda_runtime", "cuda_profiler_range"])
def test_arguments_that_are_not_utf8_are_as_if_they_were_not_recorded(tmp_path: Path, category: str) -> None:
    event = json.dumps(kineto.kernel("k", 1.0, 1.0, 7, category=category, odd="?")).encode()
    path = tmp_path / "t.json"
    path.write_bytes(b'{"traceEvents": [' + event.replace(b'"odd"', b'"\xc0\xc0"') + b"]}")
    columns = read_part(path)
    assert [rows for group in ("device", "operator", "launch") if (rows := columns.rows(group))] == [1]
