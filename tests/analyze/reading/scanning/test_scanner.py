"""The scanner against decoding event by event: the same columns, counts and errors, whatever the events are."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import wasmtime

from ridgeline import webassembly
from ridgeline.analyze.reading import early_start, parts
from ridgeline.analyze.reading.columns import GROUPS, Columns, append
from ridgeline.analyze.reading.reader import JSON_ERRORS, TraceReader, decode
from ridgeline.analyze.reading.scanning import scanner
from ridgeline.analyze.reading.scanning.scanner import Scanner
from tests.analyze import kineto
from tests.sampling import every, pick

ROOT = Path(__file__).parents[4]
OWN = sorted((ROOT / "tests" / "data").rglob("trace.json*"))
SHARED = ROOT.parent / "shared"
REAL = sorted(path for path in SHARED.glob("*/*.json*") if not re.search(r"\.et\.json|ceilings", path.name))
_CODED = {"signature": "signatures", "thread": "threads"}

SHAPES: dict[str, Any] = {
    "External id": 8,
    "Input Dims": [[8, 8], []],
    "Input type": ["float", ""],
    "Concrete Inputs": ["", "1"],
}
NCCL = {"Collective name": "allreduce", "In msg nelems": 4, "Out msg nelems": 4, "Group size": 2, "dtype": "Float"}
EVENTS = [
    kineto.operator("aten::mm", 1.0, 2.0, 7, [[8, 8], [8, 8]], ["float", "float"], ["", ""]),
    kineto.launch(1.5, 9),
    kineto.launch(1.625, 8, "hipLaunchKernel") | {"args": {"correlation": 8, "kernel": "k<1>"}},
    kineto.kernel("k<1>", 5.001, 0.125, 9, grid=[1, 2, 3], block=[32, 1, 1], **{"est. achieved occupancy %": 12}),
    kineto.span("gpu_memcpy", "Memcpy", 6, 1, device=0, stream=7, bytes=64, correlation=3, **{"External id": 3}),
    kineto.annotation("phase=decode step=0", 0.0, 9.0),
    kineto.frame("train.py(12): step", 0.0, 9.0),
    kineto.span("cpu_op", "record_param_comms", 1, 1, **SHAPES, **NCCL),
    kineto.span("user_annotation", "nccl:all_reduce", 1, 1, **SHAPES),
    kineto.kernel("ncclDevKernel_AllReduce", 7.0, 1.0, 11, **NCCL),
    kineto.kernel("multi_tensor_apply_kernel<Copy>", 7.0, 1.0, 12, grid=[7, 1, 1]),
    kineto.kernel("replayed", 8.0, 1.0, 13, **{"graph node id": 4, "annotation": "layer"}),
    kineto.span("cpu_op", "triton_poi_fused_add_0", 2, 1, **SHAPES, kernel_num_gb=0.5),
    kineto.span("Kernel", "of PyTorch 1.8", 8, 1, stream=7),
    kineto.span("cuda_profiler_range", "range", 8, 1, dram__bytes=5),
    kineto.span("no category", "x", 8, 1),
    kineto.change(3.0, 1, 1),
    {"ph": "B", "cat": "cpu_op", "name": "half", "pid": 1, "tid": "main", "ts": 1.5, "args": {}},
    {"ph": "E", "pid": 1, "tid": "main", "ts": 2.5},
    {"ph": "s", "id": 3, "cat": "ac2g", "name": "ac2g", "pid": 1, "tid": 1, "ts": 1.5},
    kineto.span("ac2g", "ac2g", 1, 2),
    kineto.named("python"),
]
"""Ordinary events, and events of each kind that is not."""
ODD = (
    *("null", "true", "nul", "{}", "[]", "[1,2]", '{"a":[{}]}', "N/A", "NaN", "Infinity", "-inf", ",", ":", "}", "]"),
    *("-1", "0", "-0", "01", "1.5", "1.2347", "1.000", "1.0000", "1e3", "1E+2", "1e", "1.", ".5", "-", "+", "0x10"),
    *("9223372036854775807", "9223372036854775808", "99999999999999999999", "999999999999999999", "1e999999999"),
    *("2305843009213693.951", "2305843009213693.952", "-2305843009213693.952", "1679055451546825.123"),
    *(
        '""',
        '"x"',
        '"\u00e9"',
        r'"\u00e9"',
        r'"\ud800"',
        r'"a\\b"',
        r'"a\/b"',
        r'"a\qb"',
        '"a\nb"',
        '"a\x1fb"',
        '"a',
        r'"\"',
    ),
)
"""Values, most of them JSON, that may stand in the place of any value."""


def values(columns: Columns) -> tuple[object, ...]:
    """Return all that columns hold with names, threads and signatures in place of their codes, rows in one order."""
    groups = {}
    for group in GROUPS:
        held = getattr(columns, group)
        named = []
        for column in sorted(held.keys() - {"external_id"} if group == "launch" else held):
            table = list(getattr(columns, _CODED.get(column, "names")))
            is_code = column in _CODED or column in ("name", "kernel", "annotation", "collective", "geometry")
            named.append([table[code] if is_code and code >= 0 else code for code in held[column]])
        groups[group] = sorted(map(repr, zip(*named, strict=True)))
    halves = [half._replace(number=0) for half in columns.halves]
    counts = (columns.events, columns.malformed, columns.categories, columns.replaced, len(columns.signatures))
    metrics = sorted((metric, value) for _, metric, value in columns.counters)
    found = columns.optional, columns.has_kernel_names, set(map(repr, columns.unread_pids))
    return groups, halves, counts, metrics, found


def event_by_event(text: bytes, columns: Columns) -> object:
    """Return what decoding a JSON array event by event adds to the columns, or the error."""
    try:
        append(columns, decode(text))
    except JSON_ERRORS as e:
        return repr(e)
    return values(columns)


def scanned(text: bytes, columns: Columns) -> object:
    """Return what scanning a JSON array adds to the columns, or the error."""
    scanner = Scanner(columns)
    try:
        append(columns, scanner.decode(text))
    except JSON_ERRORS as e:
        return repr(e)
    scanner.append()
    return values(columns)


def array(*events: Any) -> bytes:
    return json.dumps(events, ensure_ascii=False, indent=1).encode()


@pytest.mark.parametrize("path", [*every(3, OWN), *every(9, REAL)], ids=lambda path: path.name)
def test_real_traces_are_read_alike(path: Path) -> None:
    for piece in TraceReader(path).pieces():
        text = b"".join(piece.array)
        assert scanned(text, Columns(allocations=True)) == event_by_event(text, Columns(allocations=True))


def test_what_is_ordinary_is_not_left() -> None:
    """The project's own traces have ordinary events alone."""
    left = {}
    for path in OWN:
        columns = Columns()
        decoded = [Scanner(columns).decode(*piece.array) for piece in TraceReader(path).pieces()]
        left[path] = sum(len(each.events) for each in decoded)
    assert set(left.values()) == {0}


def test_events_of_every_kind_are_read_alike() -> None:
    for allocations in (False, True):
        text = array(*EVENTS)
        found = scanned(text, Columns(allocations=allocations))
        assert found == event_by_event(text, Columns(allocations=allocations))
    decoded = Scanner(Columns()).decode(array(*EVENTS))
    assert {event.name for event in decoded.events} == {
        "record_param_comms", "nccl:all_reduce", "ncclDevKernel_AllReduce", "multi_tensor_apply_kernel<Copy>",
        "replayed", "triton_poi_fused_add_0", "of PyTorch 1.8", "range", "x", "half", None,
    }  # fmt: skip


def with_odd_values() -> Iterator[tuple[bytes, bytes]]:
    """Yield each event with each value replaced by each odd value, or removed, or given twice."""
    for event in EVENTS:
        text = json.dumps(event, ensure_ascii=False).encode()
        for field in re.finditer(rb'("[^"]*": )("(?:[^"\\]|\\.)*"|\[\[.*?\]\]|\[[^\[\]]*\]|-?[0-9.]+)(, )?', text):
            start, end = field.span(2)
            for odd in ODD:
                yield text[:start] + odd.encode() + text[end:], text
            yield text[: field.start()] + text[field.end() :], text
            yield text[: field.start()] + field[1] + b"3, " + text[field.start() :], text


def test_odd_values_are_read_alike() -> None:
    cases = every(7, list(with_odd_values()))  # each odd value in a seventh of the places
    assert len(cases) > pick(900, 6000)
    for odd, ordinary in cases:
        text = b"[%s, %s]" % (ordinary, odd)
        assert scanned(text, Columns()) == event_by_event(text, Columns()), text


def test_damaged_text_is_read_alike() -> None:
    draw = random.Random(5)
    text = array(*EVENTS)
    for at in every(11, range(len(text))):
        flipped = bytearray(text)
        flipped[at] ^= 1 << draw.randrange(8)
        for damaged in (bytes(flipped), text[:at], text[:at] + text[at + 1 :]):
            assert scanned(damaged, Columns()) == event_by_event(damaged, Columns()), damaged


@pytest.mark.parametrize(
    "text",
    [
        array(*EVENTS) + b" x",
        array(*EVENTS) + b"]",
        array(*EVENTS)[:-1],
        b"[]",
        b"[,]",
        b"",
        b"{}",
        b"[3]",
        array(EVENTS[1]).replace(b'"args": {', b'"args": {"correlation": 5}, "args": {'),
        array(EVENTS[0]).replace(b'"args": {', b'"args": {"Sequence number": 5}, "args": {'),
        array(EVENTS[3]).replace(b'"device": 0', b'"device": -1'),
        array(EVENTS[0]).replace(b'"External id": 7', b'"External id": 5, "External id": 7'),
        array(EVENTS[3] | {"ts": 9999999999999999}),
        array(EVENTS[3] | {"dur": 9300000000000000}),
        array(*(kineto.launch(1.0, 9) | {"args": args | {"Kernel": "k"}} for args in ({"correlation": 8}, {}))),
        array(*(kineto.span("cpu_op", "triton_", 2, 1, **SHAPES, **args) for args in ({"kernel_num_gb": 0.5}, {}))),
        array(
            *(
                kineto.kernel("k", 8, 1, 13, **args)
                for args in ({"graph node id": 1}, {"graph node id": 0, "module": "m"})
            )
        ),
        array(kineto.frame("a", 0, 9), kineto.frame("b", 0, 9))
        .replace(b'"a"', rb'"C:\temp\f.py(1): f"')
        .replace(b'"b"', rb'"C:\Users\f.py(1): f"'),
        array(*(kineto.span(f"category {i}", "x", 8, 1) for i in range(1000)), kineto.launch(1.0, 9)),
    ],
)
def test_odd_texts_are_read_alike(text: bytes) -> None:
    assert scanned(text, Columns()) == event_by_event(text, Columns())


def spans(text: bytes, *, scan: bool) -> dict[str, list[object]]:
    """Return the names of spans in the order of the rows, which tells the outer one of two equal spans."""
    columns = Columns()
    if scan:
        scanner = Scanner(columns)
        append(columns, scanner.decode(text))
        scanner.append()
    else:
        append(columns, decode(text))
    names = list(columns.names)
    return {group: [names[code] for code in getattr(columns, group)["name"]] for group in GROUPS[2:5]}


@pytest.mark.parametrize("odd", ["内", "a\nb", "\u2028"])
@pytest.mark.parametrize("make", [kineto.frame, kineto.annotation, partial(kineto.span, "cpu_op")])
def test_equal_spans_stay_in_order(make: Callable[[str, float, float], kineto.Event], odd: str) -> None:
    """Events that nothing but their order in the file nests, one of which is not ordinary."""
    text = array(make("outer", 1, 5), make(odd, 1, 5), make("inner", 1, 5), *EVENTS[:7])
    assert spans(text, scan=True) == spans(text, scan=False)
    hidden = text.replace(b'"cat": "python', b'"cat": "\\u0070ython', 1)
    assert spans(hidden, scan=True) == spans(hidden, scan=False)


@pytest.mark.parametrize("nested", [60, 80, 2000])
def test_nested_values_are_read_alike(nested: int) -> None:
    text = array(EVENTS[0], EVENTS[1] | {"args": {"correlation": 1, "deep": 0}}).replace(
        b'"deep": 0', b'"deep": ' + b"[" * nested + b"]" * nested
    )
    assert scanned(text, Columns()) == event_by_event(text, Columns())


def test_pieces_share_their_codes() -> None:
    one, two = Columns(), Columns()
    of_one = Scanner(one)
    for first in range(0, len(EVENTS), 3):
        text = array(*EVENTS[first : first + 3], *EVENTS[:2])
        append(one, of_one.decode(text))
        of_one.append()
        append(two, decode(text))
    assert values(one) == values(two)


def in_another_form(event: dict[str, Any], draw: random.Random) -> str:
    """Return the text of an event whose fields and arguments stand in another order and layout, or are missing."""
    colon, space = draw.choice([":", ": ", " :\n"]), draw.choice(["", " ", "\n    ", "\t", "\r\n"])

    def text(fields: dict[str, Any]) -> str:
        items = draw.sample([*fields.items()], max(0, len(fields) - (draw.random() < 0.2)))
        items += items[:1] if draw.random() < 0.1 else []  # twice
        if draw.random() < 0.1:
            items += [(f"{'x' * draw.randrange(60)}{i}", i) for i in range(draw.randrange(40))]
        names = [f'"{key}"' for key, _ in items]
        if draw.random() < 0.1:  # the first letter of a name as an escape
            names = [f'"\\u{ord(key[0]):04x}{key[1:]}"' for key, _ in items]
        values = [text(value) if isinstance(value, dict) else json.dumps(value) for _, value in items]
        pairs = [f"{space}{name}{colon}{value}" for name, value in zip(names, values, strict=True)]
        return f"{{{','.join(pairs)}{space}}}"

    return text(event)


def test_events_are_read_alike_whatever_the_form_of_those_before() -> None:
    """The scanner expects the fields of earlier events, in their order and layout."""
    draw = random.Random(11)
    one, two = Columns(), Columns()
    of_one = Scanner(one)
    for _ in range(pick(300, 10_000)):
        form = draw.getrandbits(32) if draw.random() < 0.5 else None  # events of one form, as in a real trace
        chosen = [draw.choice(EVENTS) for _ in range(9)]
        texts = [in_another_form(event, random.Random(form) if form else draw) for event in chosen]
        text = f"[{draw.choice([',', ' ,']).join(texts)}]".encode()
        append(one, of_one.decode(text))
        of_one.append()
        append(two, decode(text))
        assert (one.events, one.malformed, one.categories) == (two.events, two.malformed, two.categories), text
    assert values(one) == values(two)
    assert two.rows("operator") > 100


def test_a_field_is_found_after_more_white_space_than_expected() -> None:
    compact, spaced = (json.dumps(EVENTS[0], separators=(",", colon)).encode() for colon in (":", ": "))
    text = b"[%s, %s, %s]" % (compact, spaced, compact)
    assert scanned(text, Columns()) == event_by_event(text, Columns())
    assert Scanner(Columns()).decode(text).events == []


def test_many_texts_keep_their_codes() -> None:
    """So many names that the tables of the scanner grow several times."""
    events = [kineto.operator(f"aten::mm{i}", float(i), 1.0, i, [[i, 8]], ["float"]) for i in range(20_000)]
    text = json.dumps(events).encode()
    columns = Columns()
    assert scanned(text, columns) == event_by_event(text, Columns())
    assert len(columns.names) == 20_000


def test_without_memory_events_are_decoded_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    instance = webassembly.instance

    def limited(module: Path) -> tuple[wasmtime.Store, Any]:
        store, exports = instance(module)
        store.set_limits(memory_size=exports["memory"].data_len(store) + (1 << 20))
        return store, exports

    monkeypatch.setattr(webassembly, "instance", limited)
    columns, expected = Columns(), Columns()
    scanner = Scanner(columns)
    for first in range(0, 20_000, 4000):
        events = [kineto.operator(f"aten::mm{i}", float(i), 1.0, i) for i in range(first, first + 4000)]
        text = json.dumps(events).encode()
        append(columns, scanner.decode(text))
        scanner.append()
        append(expected, decode(text))
    assert values(columns) == values(expected)


def test_large_traces_are_scanned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    class Counted(Scanner):
        def append(self) -> None:
            made.append(self._scanned)
            super().append()

    monkeypatch.setattr(scanner, "Scanner", Counted)
    path = kineto.write(tmp_path / "t.json", kineto.matmul_step())
    parts.read_part(path)
    assert made == []
    monkeypatch.setattr(early_start, "SCANNED_BYTES", path.stat().st_size)
    columns = parts.read_part(path)
    assert sum(made) == columns.events > 0


def test_arguments_that_are_not_utf8_cost_no_event() -> None:
    """They are kept as JSON text, which the decoder does not check."""
    kernels = (
        kineto.kernel("a", 5, 1, 9, grid="not UTF-8"),
        kineto.kernel("b", 8, 1, 13, **{"graph node id": 4, "module": "not UTF-8"}),
    )
    text = array(*kernels).replace(b"not UTF-8", b"\xff")
    columns = Columns()
    assert scanned(text, columns) == event_by_event(text, Columns())
    assert columns.events == columns.rows("device") == 2
    assert {'["\ufffd",null,null,null,null]', '{"module":"\ufffd"}'} < columns.names.keys()


def test_without_wasmtime_large_traces_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Path) -> None:
        raise wasmtime.WasmtimeError("mmap failed to reserve 0x104000000 bytes")

    path = kineto.write(tmp_path / "t.json", kineto.matmul_step())
    expected = parts.read_part(path)
    monkeypatch.setattr(early_start, "SCANNED_BYTES", 0)
    monkeypatch.setattr(webassembly, "instance", fail)
    assert values(parts.read_part(path)) == values(expected)
