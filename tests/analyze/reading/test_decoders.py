from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from itertools import cycle, repeat
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from ridgeline.analyze.cache_model import simulation
from ridgeline.analyze.cache_model.l2 import Simulation
from ridgeline.analyze.cache_model.policy import Policy
from ridgeline.analyze.errors import TraceError
from ridgeline.analyze.reading import decoders, early_start, reader
from ridgeline.analyze.reading.decoders import Decoders
from ridgeline.analyze.reading.parts import read_ahead, read_part
from ridgeline.analyze.reading.reader import Piece, TraceReader
from ridgeline.analyze.reading.trace import assemble
from ridgeline.child_process import Child
from tests.analyze import kineto


def frames(parts: list[object]) -> list[list[tuple[object, ...]]]:
    trace = assemble(parts, Path("t.json"))  # type: ignore[arg-type]
    names = pl.Series(trace.names)
    return [
        sorted(
            frame.with_columns(name=names.gather(frame["name"])).drop("thread", "signature", strict=False).rows(),
            key=str,
        )
        for frame in (trace.device, trace.launches, trace.operators, trace.annotations)
    ]


@pytest.mark.parametrize("name", ["t.json", "t.json.gz"])
def test_parts_put_together_equal_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(reader, "BLOCK_BYTES", 700)
    monkeypatch.setattr(reader, "END_BYTES", 300)
    path = kineto.write(tmp_path / name, kineto.matmul_step() * 7)
    whole = frames([read_part(path)])
    assert len(whole[0]) == 28
    for parts in (2, 3):
        assert frames([read_part(path, part, parts) for part in range(parts)]) == whole


def test_a_thread_reads_ahead_until_nobody_takes_the_pieces() -> None:
    made: list[int] = []

    def pieces() -> Iterator[Piece]:
        for number in range(1000):
            made.append(number)
            yield Piece((), number)

    with read_ahead(pieces()) as ahead:
        assert [next(ahead).offset, next(ahead).offset] == [0, 1]
    assert 2 <= len(made) < 20
    count = threading.active_count()
    with read_ahead(pieces()) as ahead:
        assert [piece.offset for piece in ahead] == [*range(1000)]
    assert threading.active_count() == count


def test_an_error_of_reading_ahead_comes_where_the_pieces_are_taken() -> None:
    def pieces() -> Iterator[Piece]:
        yield Piece((), 0)
        raise TraceError("cut off")

    with read_ahead(pieces()) as ahead:
        assert next(ahead).offset == 0
        with pytest.raises(TraceError, match="cut off"):
            next(ahead)


def test_decoders_import_what_this_process_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They start without the site module, which would add the folders of packages."""
    monkeypatch.setattr(sys, "path", [str(tmp_path / "current"), *sys.path[1:], str(tmp_path / "added")])
    program = (
        "from ridgeline.child_process import Parent; import msgspec, sys; parent = Parent(); parent.receive();"
        "parent.send((sys.path, msgspec.__file__, 'site' in sys.modules))"
    )
    with Child(program, without_site=True) as child:
        child.send("path")
        path, imported, has_site = child.receive(30)
    assert (imported, has_site) == (msgspec.__file__, False)
    assert str(tmp_path / "added") in path
    assert str(tmp_path / "current") not in path


def test_what_another_part_decodes_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "BLOCK_BYTES", 2000)
    monkeypatch.setattr(reader, "END_BYTES", 600)
    path = kineto.write(tmp_path / "t.json", kineto.matmul_step() * 50)

    def texts(wanted: Iterator[bool]) -> tuple[list[bytes], int]:
        trace = TraceReader(path, digest=False, wanted=wanted)
        return [b"".join(piece.array) for piece in trace.pieces()], trace.bytes_read

    whole, size = texts(repeat(True))
    odd, read = texts(cycle([False, True]))
    assert size == read == path.stat().st_size
    assert len(odd) == len(whole) > 12
    assert odd[1::2] == whole[1::2]
    shortened = [len(part) < len(piece) / 2 for part, piece in zip(odd[::2], whole[::2], strict=True)]
    assert sum(shortened) > len(shortened) / 2
    assert odd[-1] == whole[-1]  # which tells where the events end


def test_children_answer_in_order_and_errors_stay_with_their_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoders, "CHILD_BYTES", 0)
    monkeypatch.setattr(early_start, "SPLIT_BYTES", 10_000)
    small = kineto.write(tmp_path / "small.json", kineto.matmul_step())
    large = kineto.write(tmp_path / "large.json", kineto.matmul_step() * 30)
    broken = tmp_path / "broken.json"
    broken.write_text(kineto.text(kineto.matmul_step())[:-60])
    with Decoders(2) as pool:
        for path in (large, broken, small, large):
            pool.submit(path)
        assert len(pool) == 4
        assert [len(pool.take()), len(pool)] == [2, 3]
        with pytest.raises(TraceError, match=r"broken\.json"):
            pool.take()
        assert sum(len(part.device["name"]) for part in pool.take()) == 4
        assert sum(len(part.device["name"]) for part in pool.take()) == 120


def test_a_child_that_dies_is_an_error_not_a_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders, "CHILD_BYTES", 0)
    path = kineto.write(tmp_path / "t.json", kineto.matmul_step())
    with Decoders(2) as pool:
        pool.submit(path)
        pool._children[0]._process.kill()
        with pytest.raises(TraceError, match=r"t\.json: the decoder process was killed by SIGKILL"):
            pool.take()


def asked() -> Simulation:
    """The simulation of a kernel that reads 1 MiB and one that writes it."""
    touches = np.zeros(2, dtype=simulation.TOUCH)
    for name, value in {"span": 1 << 20, "bytes": 1 << 20, "passes": 1, "stay": 1, "write": (0, 1)}.items():
        touches[name] = value
    simulations: list[Simulation] = []

    def run(simulated: Simulation) -> bytes:
        simulations.append(simulated)
        return simulated.run()

    simulation.simulate(touches, np.arange(3), [0, 1, 2], 60 << 20, Policy(), run)
    return simulations[0]


def test_the_first_child_simulates_once_it_has_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders, "CHILD_BYTES", 0)
    path = kineto.write(tmp_path / "t.json", kineto.matmul_step())
    simulated, expected = asked(), asked().run()
    with Decoders(2) as pool:
        pool.submit(path)
        pool.expect_simulation()
        pool.finish()
        assert len(pool.take()) == 1
        with monkeypatch.context() as here:
            here.setattr(Simulation, "run", lambda _: pytest.fail("simulated in this process"))
            assert pool.simulate(simulated) == expected
        assert pool.simulate(simulated) == expected


def test_a_child_that_dies_simulates_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders, "CHILD_BYTES", 0)
    path = kineto.write(tmp_path / "t.json", kineto.matmul_step())
    simulated = asked()
    with Decoders(2) as pool:
        pool.submit(path)
        pool.expect_simulation()
        pool.finish()
        pool.take()
        pool._children[0]._process.kill()
        assert pool.simulate(simulated) == simulated.run()


def test_a_child_that_decodes_is_not_asked_to_simulate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders, "CHILD_BYTES", 0)
    path = kineto.write(tmp_path / "t.json", kineto.matmul_step())
    simulated = asked()
    with Decoders(2) as pool:
        pool.submit(path)
        pool.expect_simulation()
        pool.submit(path)
        monkeypatch.setattr(Simulation, "run", lambda _: b"simulated here")
        assert pool.simulate(simulated) == b"simulated here"
        assert [len(pool.take()), len(pool.take())] == [1, 1]


def test_a_part_that_cannot_stand_alone_is_read_again_in_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "BLOCK_BYTES", 64)
    monkeypatch.setattr(decoders, "CHILD_BYTES", 0)
    monkeypatch.setattr(early_start, "SPLIT_BYTES", 0)
    nested = kineto.kernel("k", 1.0, 2.0, groups=[{"name": f"group {i}", "ts": 99} for i in range(40)])
    path = kineto.write(tmp_path / "t.json", [nested, *kineto.matmul_step()], "compact")
    with pytest.raises(TraceError):
        [read_part(path, part, 2) for part in range(2)]
    with Decoders(2) as pool:
        # children cut at the usual size and see no problem: make one, as a wrong cut would
        monkeypatch.setattr(pool, "submit", lambda _: pool._waiting.append((path, False, [Broken(), Broken()])))  # type: ignore[list-item]
        pool.submit(path)
        (whole,) = pool.take()
    assert whole.rows("device") == 5


def test_parts_do_not_join_pieces_that_are_not_neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A piece within the nested values of an event decodes as events of its own, in another part."""
    monkeypatch.setattr(reader, "BLOCK_BYTES", 64)
    text = json.dumps([{"ph": "X"}, {"ph": "X", "g": [{"ph": "i"}] * 13}, {"ph": "X"}])
    path = tmp_path / "t.json"
    path.write_text(text)
    assert read_part(path).events == 3
    with pytest.raises(TraceError, match="cut inside an event"):
        [read_part(path, part, 2) for part in range(2)]


class Broken:
    """A child whose part could not be decoded."""

    def receive(self) -> TraceError:
        return TraceError("cut inside an event")


def test_what_killed_processes_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    gone, others = tmp_path / ".ridgeline-columns-gone", tmp_path / ".ridgeline-columns-x"
    for folder in (gone, others):
        (folder / "0").mkdir(parents=True)
    (gone / "lock").touch()
    (tmp_path / ".ridgeline-columns-empty").mkdir()
    with Decoders(1, tmp_path):
        (mine,) = set(tmp_path.iterdir()) - {others}
        with Decoders(1, tmp_path):
            assert mine.is_dir()
            assert len(list(tmp_path.iterdir())) == 3
    assert list(tmp_path.iterdir()) == [others]
