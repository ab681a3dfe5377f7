"""Values that are no JSON: repaired in place, counted by kind, and nothing else touched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ridgeline.analyze.errors import TraceError
from ridgeline.analyze.reading import reader
from ridgeline.analyze.reading.columns import Columns
from ridgeline.analyze.reading.parts import read_part
from ridgeline.analyze.reading.repair import (
    BACKSLASH,
    BYTE_ORDER_MARK,
    CONTROL,
    NO_NUMBER,
    NOT_UTF8,
    repaired,
)
from ridgeline.analyze.reading.salvage import salvage
from tests.analyze import kineto
from tests.analyze.reading.decoded import starts_ns
from tests.sampling import examples

pytestmark = pytest.mark.usefixtures("either_way")


@pytest.mark.parametrize(
    ("text", "expected", "counts"),
    [
        (rb'{"name": "C:\Users\u\t.py(3): f"}', b'{"name": "C:/Users/u/t.py(3): f"}', {BACKSLASH: 1}),
        (rb'{"name": "C:\new\test.py"}', b'{"name": "C:/new/test.py"}', {BACKSLASH: 1}),
        (rb'{"name": "a\n \u00e9 \"q\" C:\\new"}', None, {}),
        (rb'{"name": "\\server\Share \"q\""}', rb'{"name": "//server/Share \"q\""}', {BACKSLASH: 1}),
        (b'{"name": "a\x01b\tc", "b": "\n"}', b'{"name": "a b c", "b": " "}', {CONTROL: 2}),
        (b'{"name": "caf\xe9", "b": "\xc3\xa9"}', b'{"name": "caf?", "b": "\xc3\xa9"}', {NOT_UTF8: 1}),
        (
            b'{"a": inf, "b": [-inf, nan,-nan(ind) ], "c": N/A}',
            b'{"a": "n", "b": ["in", "a","nan(ind" ], "c": "/"}',
            None,
        ),
        (
            b'{"a": NaN, "b": -Infinity, "c": "inf, nan}"}',
            b'{"a": "a", "b": "Infinit", "c": "inf, nan}"}',
            {NO_NUMBER: 2},
        ),
        (b'{"a": infinite, "b": nano, "c": nan 3}', None, {}),
        # what an event is, and which field a value is of, cannot be guessed
        (b'{"ph": "\xd8", "cat" : "k\x01", "d\xf5r": 1}', None, {}),
        (b'{"a": 1}, {"name": "cut off \xff', None, {}),
    ],
)
def test_each_kind(text: bytes, expected: bytes | None, counts: dict[str, int] | None) -> None:
    found, replaced = repaired(text)
    assert found == (text if expected is None else expected)
    assert len(found) == len(text)
    assert replaced == ({NO_NUMBER: 5} if counts is None else counts)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@examples("microseconds")
@given(VALUES, st.booleans())
def test_json_is_never_touched_but_for_drives_without_escapes(value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only).encode(errors="replace")
    found, counts = repaired(text)
    assert not set(counts) - {BACKSLASH}  # "C:\n" reads as a path of Windows
    assert found == text or counts


@examples("microseconds")
@given(VALUES, st.sampled_from([b"inf", b"-nan", b"N/A"]))
def test_one_odd_value_costs_no_other(value: Any, literal: bytes) -> None:
    before, after = (json.dumps(value).encode() for _ in range(2))
    found, counts = repaired(b"[" + before + b"," + literal + b"," + after + b"]")
    if not counts[BACKSLASH]:
        assert json.loads(found) == [value, literal[1:-1].decode(), value]
        assert counts == {NO_NUMBER: 1}


KERNEL = kineto.kernel("k", 5.0, 2.0, 7)


def written(path: Path, *events: bytes, header: bytes = b"", end: bytes = b', "traceName": "t.json"}') -> Path:
    path.write_bytes(header + b'{"traceEvents": [' + b",".join(events) + b"]" + end)
    return path


def facts(columns: Columns) -> tuple[list[int], list[int], dict[str, int], int, int]:
    device = columns.device
    read = (starts_ns(columns), list(device["correlation"]))
    return *read, dict(columns.replaced), columns.events, columns.malformed


ODD = json.dumps(kineto.kernel("NAME", 1.0, 2.0, 6)).encode()


@pytest.mark.parametrize(
    ("old", "new", "name", "counts"),
    [
        (b"NAME", rb"C:\Users\x", "C:/Users/x", {BACKSLASH: 1}),
        (b"NAME", b"a\x02", "a ", {CONTROL: 1}),
        (b"NAME", b"\xff\xfe", "??", {NOT_UTF8: 1}),
        (b'"stream": 7', b'"stream": 7, "blocks per SM": inf', "NAME", {NO_NUMBER: 1}),
        (b'"stream": 7', b'"stream": -nan, "bandwidth": N/A', "NAME", {NO_NUMBER: 2}),
    ],
)
@pytest.mark.parametrize("block_bytes", [64, 1 << 20])
def test_an_odd_event_is_read_and_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: bytes, new: bytes, name: str, counts: dict[str, int],
    block_bytes: int,
) -> None:  # fmt: skip
    monkeypatch.setattr(reader, "BLOCK_BYTES", block_bytes)
    path = written(tmp_path / "t.json", ODD.replace(old, new), json.dumps(KERNEL).encode())
    columns = read_part(path)
    assert facts(columns) == ([1000, 5000], [6, 7], counts, 2, 0)
    assert set(columns.names) == {name, "k"}
    # cut off inside the second event
    path.write_bytes(path.read_bytes().rpartition(b'"ts"')[0])
    with pytest.raises(TraceError, match="cut off"):
        read_part(path)
    assert facts(salvage(path)) == ([1000], [6], counts, 1, 0)


def test_a_time_that_is_no_number_makes_its_event_malformed(tmp_path: Path) -> None:
    path = written(tmp_path / "t.json", ODD.replace(b'"dur": 2.0', b'"dur": -nan'), json.dumps(KERNEL).encode())
    assert facts(read_part(path)) == ([5000], [7], {NO_NUMBER: 1}, 2, 1)


@pytest.mark.parametrize("damage", [b'"ph": "\xd8"', b'"ph": "X', b'"ph" "X"', b'"ph": infi'])
def test_damage_beside_an_odd_value_is_found_where_it_is(tmp_path: Path, damage: bytes) -> None:
    broken = json.dumps(KERNEL).encode().replace(b'"ph": "X"', damage)
    path = written(tmp_path / "t.json", ODD.replace(b"NAME", rb"C:\Users\x"), broken)
    with pytest.raises(TraceError, match=r"damaged at byte ([\d,]+)") as caught:
        read_part(path)
    at = int(str(caught.value).split("byte ")[1].split(":")[0].replace(",", ""))
    assert at >= path.read_bytes().index(damage)
    assert facts(salvage(path))[:3] == ([1000], [6], {BACKSLASH: 1})


def test_a_byte_order_mark_and_an_odd_header_are_read(tmp_path: Path) -> None:
    path = written(
        tmp_path / "t.json", json.dumps(KERNEL).encode(), header=b"\xef\xbb\xbf",
        end=rb', "traceName": "C:\Users\t.json", "deviceProperties": [{"id": 0, "name": "D"}]}',
    )  # fmt: skip
    columns = read_part(path)
    assert facts(columns) == ([5000], [7], {BYTE_ORDER_MARK: 1, BACKSLASH: 1}, 1, 0)
    assert columns.header
    assert columns.header.devices[0].name == "D"


@pytest.mark.parametrize("block_bytes", [16, 300, 1 << 20])
@pytest.mark.parametrize("layout", ["kineto", "compact"])
def test_a_list_of_events_is_the_trace_without_a_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str, block_bytes: int
) -> None:
    monkeypatch.setattr(reader, "BLOCK_BYTES", block_bytes)
    events = kineto.matmul_step()
    path = tmp_path / "t.json"
    path.write_text(json.dumps(events, indent=1 if layout == "kineto" else None) + "\n")
    whole = read_part(kineto.write(tmp_path / "whole.json", events))
    columns = read_part(path)
    assert columns.header
    for group in ("device", "launch", "operator", "annotation"):
        found, expected = (sorted(starts_ns(each, group)) for each in (columns, whole))
        assert found == expected
    assert (columns.events, columns.header.devices) == (len(events), [])
    for text in (path.read_text()[:-3], path.read_text() + "x"):
        path.write_text(text)
        with pytest.raises(TraceError, match=r"cut off|damaged"):
            read_part(path)
