"""A trace cut off at every byte, every byte damaged, its gzip data likewise: one line, or all that precedes.

Without ``--exhaustive`` at every 23rd byte, and at each next to where an event, or the list of them, begins or ends.
"""

from __future__ import annotations

import gzip
import random
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ridgeline.analyze.errors import TraceError
from ridgeline.analyze.ingest import analyze
from ridgeline.analyze.reading import parts, reader
from ridgeline.analyze.reading.columns import Columns
from ridgeline.analyze.reading.damaged_gzip import intact_bytes
from ridgeline.analyze.reading.parts import read_part
from ridgeline.analyze.reading.salvage import salvage
from ridgeline.analyze.reading.trace import assemble
from tests.analyze import kineto
from tests.analyze.loading import dump, failures, load, query
from tests.analyze.together import Loading, together
from tests.sampling import every, pick

ROOT = Path(__file__).parents[3]
EVENTS = kineto.matmul_step()
DATA = kineto.text(EVENTS).encode()
PACKED = gzip.compress(DATA, mtime=0)
EDGES = {
    at + near
    for found in re.finditer(rb'^  [{}],?$|"traceEvents": \[|^  \]|^  "', DATA, re.MULTILINE)
    for at in found.span()
    for near in (-1, 0, 1)
}
"""Positions next to the beginning or the end of an event, of the list of events, or of a field beside it."""
POSITIONS = every(23, range(len(DATA)), EDGES)
PACKED_POSITIONS = every(23, range(len(PACKED)), [*range(12), *range(len(PACKED) - 10, len(PACKED))])
"""With all of the gzip header and of the checksum and length at the end."""


def whole_events(length: int) -> int:
    """How many events end within so many bytes of Kineto's layout: each ends on a line with nothing but its brace."""
    return sum(line.rstrip(b",") == b"  }" for line in DATA[:length].split(b"\n"))


def outcome(path: Path, data: bytes) -> Columns | str:
    path.write_bytes(data)
    try:
        columns = read_part(path)
        assemble([columns], path)
    except TraceError as e:
        said = str(e)
        assert len(said.splitlines()) == 1
        return said
    return columns


def every_flip(data: bytes, positions: Sequence[int], *masks: int) -> Iterator[bytes]:
    """The byte at each position in turn with the bits of each mask turned."""
    for position in positions:
        for mask in masks:
            yield data[:position] + bytes([data[position] ^ mask]) + data[position + 1 :]


def rows(columns: Columns) -> int:
    return sum(columns.rows(group) for group in ("device", "launch", "operator"))


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("block_bytes", [256, 1 << 20])
def test_cut_off_at_every_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int) -> None:
    monkeypatch.setattr(reader, "BLOCK_BYTES", block_bytes)
    path = tmp_path / "t.json"
    begins = DATA.index(b'"traceEvents": [') + len(b'"traceEvents": [')
    for length in (at for at in POSITIONS if at < len(DATA.rstrip())):
        said = outcome(path, DATA[:length])
        assert isinstance(said, str), length
        if length < begins:
            assert "not JSON" in said or "the file is empty" in said
            with pytest.raises(TraceError):
                salvage(path)
            continue
        assert f"cut off at byte {length:,}, in the middle of the trace" in said
        saved = salvage(path)
        assert (saved.events, saved.malformed) == (whole_events(length), 0), length
        assert saved.broken == f"cut off at byte {length:,}, in the middle of the trace"
        assert saved.header
        assert saved.header.devices[0].name == "NVIDIA H200"


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize(("block_bytes", "mask"), [(256, 0xFF), (1 << 20, 0x01), (1 << 20, 0x80)])
def test_every_byte_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int, mask: int) -> None:
    monkeypatch.setattr(reader, "BLOCK_BYTES", block_bytes)
    path = tmp_path / "t.json"
    read = said = saved = 0
    for data in every_flip(DATA, POSITIONS, mask):
        found = outcome(path, data)
        if isinstance(found, Columns):
            read += 1
            assert found.events == len(EVENTS)
            continue
        said += 1
        assert found.startswith(f"{path}: ")
        try:
            columns = salvage(path)
        except TraceError:
            continue
        saved += 1
        assert columns.broken
        position = next(i for i, (a, b) in enumerate(zip(data, DATA, strict=True)) if a != b)
        assert columns.events >= whole_events(position)
    assert read + said == len(POSITIONS)
    assert min(read, said, saved) > 0


def test_gzip_data_cut_off_at_every_byte(tmp_path: Path) -> None:
    path = tmp_path / "t.json.gz"
    for length in PACKED_POSITIONS[2:]:
        said = outcome(path, PACKED[:length])
        assert isinstance(said, str)
        at = intact_bytes(path)
        assert said.endswith(f"gzip data cut off or damaged after {at:,} decompressed bytes: copy or record it again")
        assert DATA.startswith(gzip_prefix(path, at))
        if b'"traceEvents": [' in DATA[:at]:
            assert salvage(path).events == whole_events(at)
    assert at == len(DATA)  # all but the checksum


def gzip_prefix(path: Path, size: int) -> bytes:
    from ridgeline.analyze.reading.damaged_gzip import Intact

    with Intact(path) as file:
        return b"".join(iter(file.read, b""))[:size]


def test_every_byte_of_gzip_data_damaged(tmp_path: Path) -> None:
    path = tmp_path / "t.json.gz"
    for data in every_flip(PACKED, PACKED_POSITIONS, 0x01, 0xFF):
        found = outcome(path, data)
        if isinstance(found, Columns):
            assert found.events == len(EVENTS)  # a byte of the header that means nothing to the data
            continue
        try:
            assert salvage(path).broken
        except TraceError:
            continue


MEMBERS = gzip.compress(DATA[:1500]) + gzip.compress(b"") + gzip.compress(DATA[1500:])


@pytest.mark.parametrize(
    ("data", "loads"),
    [
        (MEMBERS, True),
        (MEMBERS + b"\0" * 700, True),
        (MEMBERS + b"rubbish", False),
        (MEMBERS[:-4], False),
        (MEMBERS[:-5] + b"\xff" + MEMBERS[-4:], False),
        (gzip.compress(DATA[:1500]) + DATA[1500:], False),
        (gzip.compress(PACKED), False),
    ],
    ids=["members", "padded", "rubbish", "cut", "checksum", "plain", "twice"],
)
def test_members(tmp_path: Path, data: bytes, loads: bool) -> None:
    found = outcome(tmp_path / "t.json.gz", data)
    assert isinstance(found, Columns) == loads


def test_what_follows_the_data_or_its_checksum_costs_no_event(tmp_path: Path) -> None:
    path = tmp_path / "t.json.gz"
    for data in (PACKED + b"rubbish", PACKED[:-4], PACKED[:-8] + bytes(8)):
        path.write_bytes(data)
        saved = salvage(path)
        assert saved.events == len(EVENTS)
        assert str(saved.broken).endswith(f"after {len(DATA):,} decompressed bytes")


SALVAGED = partial(together, salvage=True)


def cut(path: Path, data: bytes, at: bytes) -> Path:
    """A trace that ends where these bytes begin."""
    path.write_bytes(data[: data.index(at)])
    return path


@SALVAGED
def test_a_salvaged_run_says_that_it_is_partial(folder: Path) -> Loading:
    run = yield cut(folder / "cut.json", DATA, b'"Memcpy')
    assert run.result.outcome == "loaded"
    ledger = run.query("SELECT account, entry, kernels, duration_ns FROM ledger ORDER BY ALL")
    assert ledger == [
        ("attribution", "external_id", 3, 7750),
        ("price", "compulsory", 3, 7750),
        ("recording", "partial", 3, 7750),
    ]
    ((source, message),) = run.query("SELECT source, message FROM warnings")
    assert source == "salvage"
    assert message.startswith("partial: cut off at byte ")
    run.verify()


def test_a_salvaged_run_is_unchanged_the_second_time(tmp_path: Path, warehouse: Path) -> None:
    path = cut(tmp_path / "cut.json", DATA, b'"Memcpy')
    assert load(warehouse, path) == [("cut", "failed")]
    for expected in ("loaded", "unchanged"):
        (result,) = analyze([path], warehouse, salvage=True)
        assert result.outcome == expected


RUN = "SELECT device_kind, device, device_time_ns FROM runs"


@pytest.mark.parametrize(
    "at", [b'"aten::mm"', b'"aten::add', b'"nvjet'], ids=["no launch", "a launch", "all but kernels"]
)
@SALVAGED
def test_a_trace_cut_before_its_first_kernel_has_none(at: bytes, folder: Path) -> Loading:
    run = yield cut(folder / "cut.json", DATA, at)
    assert (run.result.outcome, run.result.kernels) == ("loaded", 0)
    assert run.query(RUN) == [("cuda", "NVIDIA H200", 0)]
    assert run.query("SELECT name, datasheet IS NOT NULL FROM devices") == [("NVIDIA H200", True)]
    assert run.query("SELECT * FROM kernel_roofline") == []
    assert run.query("SELECT DISTINCT kernels, duration_ns FROM ledger") == [(0, 0)]
    ((message,),) = run.query("SELECT message FROM warnings")
    assert message.endswith("; the events before that were loaded, and no kernel is among them")
    run.verify()


@pytest.mark.parametrize(("at", "kind"), [(b'"nvjet', "cuda"), (b'"cudaLaunchKernel"', "cpu")])
@SALVAGED
def test_launches_tell_of_a_device_where_the_header_does_not(at: bytes, kind: str, folder: Path) -> Loading:
    run = yield cut(folder / "cut.json", kineto.text(EVENTS, header={"schemaVersion": 1}).encode(), at)
    assert run.query("SELECT device_kind FROM runs") == [(kind,)]


@pytest.mark.parametrize("is_cut", [True, False])
@SALVAGED
def test_operators_are_a_cpus_where_no_device_is_named_or_the_trace_is_whole(is_cut: bool, folder: Path) -> Loading:
    """A machine may have a device that was not profiled."""
    events = [event for event in EVENTS if event.get("cat") in ("cpu_op", "user_annotation")]
    header = {"schemaVersion": 1, "deviceProperties": []} if is_cut else None
    path = kineto.write(folder / "t.json", events, header=header)
    run = yield cut(path, path.read_bytes(), b'"aten::copy_') if is_cut else path
    assert run.result.kernels > 0
    assert run.query("SELECT device_kind, device FROM runs") == [("cpu", None)]
    assert [row[0] for row in run.query("SELECT source FROM warnings ORDER BY 1")] == [
        *(["roofs", "salvage"] if is_cut else ["recording", "roofs"])
    ]


def test_copies_cut_inside_the_same_event_are_the_same_run(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    end = DATA.index(b'"Memcpy')
    seen = set()
    for length in (end, end + 3, end + 40):
        path.write_bytes(DATA[:length])
        seen.add(salvage(path).sha256)
    assert len(seen) == 1


def test_a_whole_trace_is_the_same_with_salvage_as_without(tmp_path: Path) -> None:
    path = kineto.write(tmp_path / "t.json.gz", EVENTS)
    analyze([path], tmp_path / "with.duckdb", salvage=True)
    analyze([path], tmp_path / "without.duckdb")
    tables = [dump(tmp_path / f"{name}.duckdb") for name in ("with", "without")]
    for table in tables:
        del table["schema_version"]  # which has the time at which the file was made
    assert tables[0] == tables[1]


def test_what_cannot_be_salvaged_fails_as_without(tmp_path: Path, warehouse: Path) -> None:
    (tmp_path / "t.json").write_bytes(b"hello")
    (error,) = failures(analyze([tmp_path / "t.json"], warehouse, salvage=True))
    assert error.startswith(f"{tmp_path / 't.json'}: not JSON (")
    assert not warehouse.exists()


def test_damage_in_a_large_trace_is_said_without_reading_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece is decoded once: what follows the damage is not joined to it."""

    monkeypatch.setattr(reader, "BLOCK_BYTES", 2000)
    data = kineto.text(EVENTS * 200).encode()
    at = data.index(b'"ts"', 10_000)
    (tmp_path / "t.json").write_bytes(data[:at] + b"!" + data[at + 1 :])
    sizes: list[int] = []

    def decode(*fragments: bytes) -> Any:
        sizes.append(sum(map(len, fragments)))
        return reader.decode(*fragments)

    monkeypatch.setattr(parts, "decode", decode)
    with pytest.raises(TraceError, match=f"damaged at byte {at:,}: JSON is malformed"):
        read_part(tmp_path / "t.json")
    assert max(sizes) < 6000


@pytest.mark.process
def test_a_sample_by_the_command_line(tmp_path: Path) -> None:
    """In a process of its own: one line for each damaged file, exit code 1, and what was stored stays."""
    rng = random.Random(0)
    count = pick(12, 60)
    good = kineto.write(tmp_path / "good.json", EVENTS)
    load(tmp_path / "w.duckdb", good)
    paths = []
    for i in range(count):
        paths.append(tmp_path / f"bad{i}.json{'.gz' if i % 2 else ''}")
        data = bytearray(PACKED if i % 2 else DATA)
        if i % 3:
            data[rng.randrange(len(data))] ^= 0xFF
        paths[-1].write_bytes(data if i % 3 else data[: rng.randrange(len(data) - 2)])
    for arguments in ((), ("--salvage",)):
        command = [sys.executable, "-m", "ridgeline", "analyze", *map(str, [good, *paths])]
        done = subprocess.run(
            [*command, "-w", str(tmp_path / "w.duckdb"), *arguments], capture_output=True, text=True, timeout=300
        )
        lines = [line for line in done.stderr.splitlines() if ": warning: " not in line]
        assert (done.returncode, done.stdout, len(lines)) == (1, "", 1 + count)
        assert "Traceback" not in done.stderr
        assert "cannot be loaded" not in done.stderr
        assert query(tmp_path / "w.duckdb", "SELECT count(*) FROM runs WHERE name = 'good'") == [(1,)]
