"""Files beside a trace that are cut off, damaged, endless or of something else: one line, and never more than that.

What the trace says of itself is loaded without counters or tensors; a run whose own description, roofs, samples or twin
cannot be read is refused.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from ridgeline.analyze.cache_model.execution_trace import read_execution_trace
from ridgeline.analyze.companions.counter_files import read_cupti, read_ncu
from ridgeline.analyze.companions.run_files import read_ceilings, read_run, read_telemetry
from ridgeline.analyze.companions.size_limit import read_bounded
from ridgeline.analyze.errors import CompanionError
from ridgeline.analyze.ingest import analyze
from ridgeline.analyze.resources.limits import COMPANION_SHARE as SHARE
from ridgeline.analyze.resources.limits import Limits
from ridgeline.capture.counters.ncu_csv import MOST_COLUMNS
from tests.analyze import kineto
from tests.analyze.loading import RUN_JSON, opened, query, run_directory
from tests.analyze.together import Run, load_together
from tests.sampling import every

CEILING = {"resource": "bandwidth", "level": "dram", "value": 1e12, "unit_of_value": "byte/s", "source": "measured"}
TENSOR = [1, 2, 0, 4, 2, "cuda:0"]
NODE = {
    "id": 1,
    "name": "aten::mm",
    "attrs": [{"name": "rf_id", "type": "uint64", "value": 1}],
    "inputs": {"values": [TENSOR, TENSOR], "shapes": [[2, 2], [2, 2]], "strides": [[2, 1], [2, 1]]},
    "outputs": {"values": [TENSOR], "shapes": [[2, 2]]},
}
GOOD = {
    "run.json": json.dumps(RUN_JSON),
    "ceilings.json": json.dumps({"format": 1, "device": "NVIDIA H200", "ceilings": [CEILING]}),
    "telemetry.csv": "time_ns,power_w,memory_used_bytes,throttle_reasons\n1,100.5,7,\n2,,8,power\n",
    "trace.counters.csv": "step,launch_index,kernel,window,metric,value\n3,0,nvjet,memory,dram__bytes_read.sum,12\n",
    "trace.ncu.csv": '==PROF== done\n"ID","Kernel Name","dram__bytes_read.sum"\n"","","Kbyte"\n"0","nvjet","1,024"\n',
    "trace.et.json": json.dumps({"schema": "1.1.1-chakra.0.0.4", "nodes": [NODE]}),
    "trace.twin.json": kineto.text(kineto.matmul_step()),
}
READERS: dict[str, Callable[[Path], object]] = {
    "run.json": read_run,
    "ceilings.json": read_ceilings,
    "telemetry.csv": read_telemetry,
    "trace.counters.csv": read_cupti,
    "trace.ncu.csv": read_ncu,
    "trace.et.json": read_execution_trace,
}
REFUSES = ("run.json", "ceilings.json", "telemetry.csv", "trace.twin.json")
"""The others cost the run what they would have told."""
FLIPS = (0x01, 0x20, 0x80)


def outcome(read: Callable[[Path], object], path: Path) -> str:
    """What reading comes to: "read", or the one line."""
    try:
        read(path)
    except CompanionError as e:
        line = str(e)
        assert path.name in line
        assert "\n" not in line
        return line
    return "read"


def edges(data: bytes) -> set[int]:
    """Positions next to the beginning or the end of an object, an array or a line; of gzip's header and trailer all."""
    if data.startswith(b"\x1f\x8b"):
        return {*range(12), *range(len(data) - 10, len(data))}
    return {at + near for at, byte in enumerate(data) if byte in b"{}[]\n" for near in (-1, 0, 1)}


def damaged(data: bytes) -> Iterator[bytes]:
    """Cut at every byte, and with every byte flipped in three ways; sampled at every 23rd byte and the edges."""
    for at in every(23, range(len(data)), edges(data)):
        yield data[:at]
        for flip in FLIPS:
            yield data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :]


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("name", READERS)
def test_every_cut_and_every_flipped_byte_is_read_or_one_line(
    name: str, packed: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    data = gzip.compress(GOOD[name].encode(), mtime=0) if packed else GOOD[name].encode()
    path.write_bytes(data)
    assert outcome(READERS[name], path) == "read"
    seen = set()
    for case in damaged(data):
        path.write_bytes(case)
        seen.add(outcome(READERS[name], path) == "read")
    assert False in seen
    assert capfd.readouterr().err == ""  # native code that panics says so there


ODD_JSON = ["", "null", "[]", "5", '"x"', "{}", "NaN", "[" * 20_000, '{"format": 1}', "\x00", "\ufeff{}", "{} {}"]
ODD_VALUES: list[Any] = [None, True, -1, 2**70, 1e308, "", "x", [], {}, [None], [[]], {"": 1}]
ODD_CSV = [
    "",
    "\n",
    ",",
    "\x00",
    '"',
    '"""',
    "a\n1\n",
    "time_ns\nx\n",
    "time_ns\n1e5\n",
    "time_ns\n" + "9" * 5000,
    "step,launch_index,kernel,window,metric,value\n",
    "step,launch_index,kernel,window,metric,value\n1,2\n",
    "step,launch_index,kernel,window,metric,value\nx,y,z,w,m,v\n",
    "step,launch_index,kernel,window,metric,value\n,,,,,\n",
    "step,launch_index,kernel,window,metric,value\n0,0,k,w,m,NaN\n0,1,k,w,m,inf\n0,2,k,w,m,1e999\n",
    f"step,launch_index,kernel,window,metric,value\n{1 << 70},0,k,w,m,1\n",
    "launch_index,step,kernel,window,metric,value\n0,0,k,w,m,1\n",
    "step,launch_index,kernel,window,metric\n0,0,k,w,m\n",
    "step,step,step,step,step,step\n0,0,k,w,m,1\n",
    "Kernel Name\n",
    "Kernel Name,a__b.sum\n,\n",
    "Kernel Name,a__b.sum\n,\nk,NaN\nk,inf\nk,much\n",
    "Kernel Name,a__b.sum\n,\nk\nk,1,2,3\n",
    "Kernel Name,a__b.sum,a__b.sum\n,,\nk,1,2\n",
    "ID,a__b.sum\n,\n0,1\n",
    "Kernel Name," + "," * MOST_COLUMNS + "\n",
    "time_ns," + "," * MOST_COLUMNS + "\n",
]


def odd(value: Any) -> Iterator[Any]:
    """The value with each part of it, one at a time, missing or of a wrong type."""
    yield from ODD_VALUES
    parts = list(value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ()))
    for key, part in parts:
        others = [(k, v) for k, v in parts if k != key]
        if isinstance(value, dict):
            yield dict(others)
        for instead in odd(part):
            yield {**value, key: instead} if isinstance(value, dict) else [*value[:key], instead, *value[key + 1 :]]


@pytest.mark.parametrize("name", [name for name in READERS if name.endswith(".json")])
def test_fields_that_lack_or_are_of_a_wrong_type(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    texts = [*ODD_JSON, *map(json.dumps, odd(json.loads(GOOD[name])))]
    seen = set()
    for text in texts:
        path.write_text(text)
        seen.add(outcome(READERS[name], path) == "read")
    assert seen == {True, False}


@pytest.mark.parametrize("name", [name for name in READERS if name.endswith(".csv")])
def test_tables_that_are_none(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / name
    for text in ODD_CSV:
        path.write_text(text)
        outcome(READERS[name], path)
    assert capfd.readouterr().err == ""


def replayed(folder: Path) -> Path:
    """A run directory whose trace has a replay, so that its twin is asked; no two of a test are the same run."""
    run_directory(folder, RUN_JSON)
    replay = [kineto.launch(90.0, 99, "cudaGraphLaunch"), kineto.kernel("nvjet_sm90_tst_64x8", 95.0, 4.0, 99)]
    kineto.write(folder / "trace.json.gz", [*kineto.matmul_step(), *replay, kineto.named(folder.name)])
    return folder


def beside(folder: Path, name: str, data: bytes) -> Path:
    """A run directory with a file of these bytes."""
    (replayed(folder) / name).write_bytes(data)
    return folder


def check(run: Run) -> None:
    """Whatever comes of a run, it is one line at most; both accounts are closed, or nothing of it is stored."""
    assert "\n" not in str(run.result.error)
    stored = run.warehouse.connection.execute("SELECT name FROM w.main.runs").fetchall()
    assert ((run.result.name,) in stored) == (run.result.outcome == "loaded")
    if run.result.outcome == "loaded":
        ((total,),) = run.query("SELECT device_time_ns FROM runs")
        assert run.query("SELECT sum(duration_ns) FROM ledger GROUP BY account") == [(total,)] * 2


def said_of(run: Run) -> str:
    """What is said of its companions, wherever that is."""
    if run.result.error:
        return str(run.result.error)
    (messages,) = run.query("SELECT counters_message, cache_model_message FROM runs")
    return "; ".join(filter(None, messages))


BOMBS = {
    "run.json": b"{",
    "ceilings.json": b"{",
    "telemetry.csv": b"time_ns,power_w\n",
    "trace.counters.csv": b"step,launch_index,kernel,window,metric,value\n",
    "trace.ncu.csv": b'"ID","Kernel Name"\n',
    "trace.et.json": b'{"nodes": [',
    "trace.twin.json": b'{"traceEvents": [',
}


MEMORY_BYTES = {"memory": 1 << 30, "RIDGELINE_MAX_TRACE_BYTES": 64 << 30}
"""The limit of memory, by what stops the reading."""


def packed(name: str) -> str:
    return name if name in REFUSES[:3] else f"{name}.gz"


@pytest.fixture(scope="module", params=MEMORY_BYTES)
def bombed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Run]]:
    """What stops the reading, and what comes of a run beside each bomb."""
    by, folder = request.param, tmp_path_factory.mktemp("bombed")
    blanks = gzip.compress(b" " * (80 << 20 if by == "memory" else 4 << 20), 1)
    paths = [
        beside(folder / f"bombed {name}", packed(name), gzip.compress(start) + blanks) for name, start in BOMBS.items()
    ]
    with pytest.MonkeyPatch.context() as patch:
        # what other tests left in this process
        patch.setattr("ridgeline.analyze.reading.fits_memory.resident_bytes", lambda: 0)
        if by != "memory":
            patch.setenv(by, str(1 << 20))
        runs = load_together(paths, folder, memory=MEMORY_BYTES[by])
    return by, dict(zip(BOMBS, runs, strict=True))


@pytest.mark.parametrize("name", BOMBS)
def test_what_expands_without_end_stops_at_the_limit(name: str, bombed: tuple[str, dict[str, Run]]) -> None:
    by, runs = bombed
    check(runs[name])
    assert runs[name].result.outcome == ("failed" if name in REFUSES else "loaded")
    said = said_of(runs[name])
    if name == "trace.twin.json" and by == "memory":
        assert "no end of an event within" in said
        assert "too little --memory" in said
    else:
        assert packed(name) in said
        most_bytes = MEMORY_BYTES[by] // SHARE if by == "memory" else 1 << 20
        assert f"more than {most_bytes:,} bytes, as decompressed" in said
        assert (f"give {SHARE} times that by --memory" if by == "memory" else f"set {by}") in said


def test_what_may_be_that_large_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(gzip.compress(b"x" * 1000))
    assert read_bounded(path, Limits.of(1000 * SHARE)) == b"x" * 1000
    with pytest.raises(OSError, match="more than 999 bytes") as raised:
        read_bounded(path, Limits.of(999 * SHARE))
    assert raised.value.filename == str(path)


def test_more_samples_than_memory_holds_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "telemetry.csv"
    path.write_text("time_ns\n" + "1\n" * 1000)
    assert len(read_telemetry(path, Limits.of(256 * 1000 * SHARE))) == 1000
    with pytest.raises(CompanionError, match="more than 999 samples"):
        read_telemetry(path, Limits.of(256 * 999 * SHARE))


RUBBISH = ["", "\x00", "NaN", '{"traceEvents": [5]}', GOOD["trace.twin.json"][:-99], "\x1f\x8b"]


CASES = every(2, list(product(RUBBISH, BOMBS)))


@pytest.fixture(scope="module")
def littered(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Run]:
    """What comes of a run beside each piece of rubbish."""
    folder = tmp_path_factory.mktemp("littered")
    paths = [beside(folder / f"run{i}", name, data.encode("latin-1")) for i, (data, name) in enumerate(CASES)]
    return dict(zip(CASES, load_together(paths, folder, memory=4 << 30), strict=True))


@pytest.mark.parametrize(("data", "name"), CASES)
def test_rubbish_beside_a_trace_is_one_line_or_harmless(
    name: str, data: str, littered: dict[tuple[str, str], Run]
) -> None:
    run = littered[data, name]
    check(run)
    harmless = (name, data) in (("trace.twin.json", '{"traceEvents": [5]}'), ("telemetry.csv", ""))  # empty ones
    assert run.result.outcome == ("failed" if name in REFUSES and not harmless else "loaded")
    assert harmless or name in said_of(run)


def a_folder(path: Path) -> None:
    path.mkdir()


def a_loop(path: Path) -> None:
    path.symlink_to(path.name)


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


NO_FILES: dict[Callable[[Path], None], str] = {
    a_folder: "a folder",
    a_loop: "a link that leads nowhere",
    a_pipe: "a pipe",
    a_device: "a device",
}


def test_what_is_no_file_is_told_and_else_as_if_it_were_not_there(tmp_path: Path) -> None:
    folders = {make: replayed(tmp_path / make.__name__) for make in NO_FILES}
    analyze(folders.values(), tmp_path / "without.duckdb")
    places = {make: [folders[make] / name for name in sorted(BOMBS.keys() - {"run.json"})] for make in NO_FILES}
    for make, paths in places.items():
        for path in paths:
            make(path)
    lines = {
        make: [f"{path.name}: is {kind}, expected a file: left out" for path in places[make]]
        for make, kind in NO_FILES.items()
    }
    results = analyze(folders.values(), tmp_path / "w.duckdb")
    assert [result.outcome for result in results] == ["loaded"] * len(folders)
    with opened(tmp_path / "w.duckdb") as connection:
        kernels = connection.execute("FROM kernels ORDER BY ALL").fetchall()
        told = connection.execute(
            "SELECT name, warnings.message FROM warnings JOIN runs USING (run_id)"
            " WHERE warnings.source = 'companions' ORDER BY ALL"
        ).fetchall()
    assert kernels == query(tmp_path / "without.duckdb", "FROM kernels ORDER BY ALL")
    assert told == sorted((make.__name__, line) for make in lines for line in lines[make])
    for result, make in zip(results, lines, strict=True):
        assert set(lines[make]) <= set(result.warnings), make
    again = analyze(folders.values(), tmp_path / "w.duckdb")
    assert [result.outcome for result in again] == ["unchanged"] * len(folders)
    for make, paths in places.items():
        for path in paths:
            path.rmdir() if make is a_folder else path.unlink()
    mended = analyze(folders.values(), tmp_path / "w.duckdb")
    assert [result.outcome for result in mended] == ["replaced"] * len(folders)
    assert query(tmp_path / "w.duckdb", "FROM warnings WHERE source = 'companions'") == []


def test_a_bare_trace_tells_of_them_too_and_takes_the_file_of_the_other_name(tmp_path: Path) -> None:
    for name in ("t.json", "other.json"):
        kineto.write(tmp_path / name, [*kineto.matmul_step(), kineto.named(name)])
    (tmp_path / "t.counters.csv.gz").mkdir()
    (tmp_path / "t.counters.csv").write_text(GOOD["trace.counters.csv"])
    (result,) = analyze([tmp_path / "t.json"], tmp_path / "w.duckdb")
    assert (result.outcome, result.warnings) == (
        "loaded",
        (
            "t.counters.csv.gz: is a folder, expected a file: left out",
            "t.counters.csv: 1 of 1 steps lack counters; phase=decode kind=decode step=3: at most 0.0% of its 3 "
            "kernels and the 1 counted agree in order and name, expected 95%: it has none",
        ),
    )
    (result,) = analyze([tmp_path / "other.json"], tmp_path / "w.duckdb")
    assert (result.outcome, result.warnings) == ("loaded", ())
    (tmp_path / "a" / "run.json").mkdir(parents=True)
    (result,) = analyze([kineto.write(tmp_path / "a" / "trace.json", kineto.matmul_step())], tmp_path / "w.duckdb")
    assert result.warnings == ("run.json: is a folder, expected a file: left out",)
    folder = run_directory(tmp_path / "b", RUN_JSON, trace=False)
    a_pipe(folder / "trace.json.gz")
    (result,) = analyze([folder], tmp_path / "w.duckdb")
    assert (result.outcome, result.warnings) == ("loaded", ("trace.json.gz: is a pipe, expected a file: left out",))


@pytest.fixture(scope="module")
def forbidden(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """What comes of a run beside a file that may not be read.

    Whoever is root may read everything: the system's answer is put in its mouth.
    """
    opened, folder = Path.open, tmp_path_factory.mktemp("forbidden")
    paths = [beside(folder / f"no {name}", name, b"") for name in BOMBS]

    def refuse(self: Path, *arguments: Any, **keywords: Any) -> Any:
        if self.parent.name == f"no {self.name}":
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, *arguments, **keywords)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        return dict(zip(BOMBS, load_together(paths, folder), strict=True))


@pytest.mark.parametrize("name", BOMBS)
def test_what_may_not_be_read_is_said(name: str, forbidden: dict[str, Run]) -> None:
    check(forbidden[name])
    assert forbidden[name].result.outcome == ("failed" if name in REFUSES else "loaded")
    assert f"{name}: cannot be read: Permission denied" in said_of(forbidden[name])


def test_a_run_that_is_refused_makes_no_warehouse(tmp_path: Path) -> None:
    results = analyze([beside(tmp_path / name, name, b"rubbish") for name in REFUSES], tmp_path / "w.duckdb")
    assert [result.outcome for result in results] == ["failed"] * len(REFUSES)
    assert not (tmp_path / "w.duckdb").exists()


@pytest.mark.parametrize("make", [a_pipe, a_device, a_loop])
def test_a_trace_that_is_no_file_is_one_line_and_no_wait(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "t.json")
    kineto.write(tmp_path / "good.json", kineto.matmul_step())
    named, in_folder = (analyze([path], tmp_path / "w.duckdb") for path in (tmp_path / "t.json", tmp_path))
    ((error,), (good,)) = ([result.error for result in named], in_folder)
    assert str(error).startswith(f"{tmp_path / 't.json'}: n")  # neither a file nor a folder, or no such
    assert "\n" not in str(error)
    assert (good.name, good.outcome) == ("good", "loaded")


def test_mending_a_companion_loads_the_run_anew(tmp_path: Path) -> None:
    names = ["trace.et.json", "trace.counters.csv", "trace.ncu.csv"]
    folders = [beside(tmp_path / name, name, b"rubbish") for name in names]
    analyze(folders, tmp_path / "w.duckdb")
    for folder in folders:
        (folder / folder.name).write_text(GOOD[folder.name])
    mended = {result.name: result.outcome for result in analyze(folders, tmp_path / "w.duckdb")}
    assert mended == dict.fromkeys(names, "replaced")


def test_a_twin_of_another_run_teaches_nothing(tmp_path: Path) -> None:
    other = [
        {**event, "name": f"other {event['name']}"} if event.get("cat") in ("kernel", "gpu_memcpy") else event
        for event in kineto.matmul_step()
    ]
    folder = beside(tmp_path / "a", "trace.twin.json", kineto.text(other).encode())
    (run,) = load_together([folder], tmp_path)
    check(run)
    assert run.result.matched is not None
    assert (run.result.matched.kernels, run.result.matched.of_kernels) == (0, 1)
