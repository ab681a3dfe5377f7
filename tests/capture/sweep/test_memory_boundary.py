"""Points that cannot fit: inferred from others that ran out of memory, or from the device's size."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from ridgeline.capture.configuration.point import Point
from ridgeline.capture.recording import run_directory
from ridgeline.capture.records import Record
from ridgeline.capture.sweep import memory_boundary
from ridgeline.capture.sweep.session import Session
from ridgeline.capture.sweep.worker import Worker
from tests.capture.benches import PLACE, log, make_point

FAKE = "tests.capture.benches:Fake"
SIZE: dict[str, Any] = {"batch": 4, "prompt_tokens": 8, "generated_tokens": 4}
NOT_RUN = "not run: big ran out of memory, and this point needs at least as much"


def out_of_memory(name: str = "big", message: str = "CUDA out of memory.", **keys: Any) -> Record:
    point = make_point(name, **{**SIZE, **keys})
    return run_directory.unfinished(point, PLACE.environment, outcome="oom", message=message)


def refusal(point: Point, *known: Record) -> str | None:
    return memory_boundary.refusal(point, PLACE, known)


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"batch": 5},
        {"prompt_tokens": 9},
        {"generated_tokens": 5},
        {"batch": 5, "prompt_tokens": 9, "generated_tokens": 5},
        {"experiment": "other"},
    ],
)
def test_as_much_or_more_is_not_run(keys: dict[str, Any]) -> None:
    assert refusal(make_point(**{**SIZE, **keys}), out_of_memory()) == NOT_RUN


@pytest.mark.parametrize(
    "keys",
    [
        {"batch": 3},
        {"prompt_tokens": 7},
        {"generated_tokens": 3},
        {"batch": 400, "prompt_tokens": 7},
        {"dtype": "bf16"},
        {"model": "tiny-llada"},
        {"seed": 1},
        {"repeats": 4},
        {"mode": "dlm_full", "model": "tiny-llada"},
    ],
)
def test_less_or_another_configuration_may_fit(keys: dict[str, Any]) -> None:
    assert refusal(make_point(**{**SIZE, **keys}), out_of_memory()) is None


@pytest.mark.parametrize("mode", ["dlm_full", "dlm_block_dual", "dlm_block_causal"])
@pytest.mark.parametrize(
    ("there", "here", "below"),
    [
        ({}, {"generated_tokens": 16}, True),
        ({"block": 4}, {"block": 4, "generated_tokens": 16}, True),
        ({"block": 4, "steps": 4}, {"block": 4, "steps": 8}, True),
        ({"threshold": 0.5}, {"threshold": 0.5, "generated_tokens": 16}, True),
        ({"generated_tokens": 16}, {}, False),
        ({"block": 4}, {"block": 8}, False),
        ({"block": 4}, {"generated_tokens": 16}, False),
        ({"steps": 8}, {"steps": 4}, False),
        ({"threshold": 0.5}, {}, False),
        ({}, {"threshold": 0.5}, False),
    ],
)
def test_blocks_and_steps_that_follow_a_length_grow_with_it(
    mode: str, there: dict[str, Any], here: dict[str, Any], below: bool
) -> None:
    keys: dict[str, Any] = {**SIZE, "model": "tiny-llada", "mode": mode, "generated_tokens": 8}
    found = refusal(make_point(**{**keys, **here}), out_of_memory(**{**keys, **there}))
    assert found == (NOT_RUN if below else None)


def test_only_memory_on_the_same_device_is_a_boundary() -> None:
    point = make_point(**SIZE)
    failed = out_of_memory()
    failed.outcome = "error"
    elsewhere = out_of_memory()
    elsewhere.environment = msgspec.structs.replace(PLACE.environment, device="Fake 2000")
    assert refusal(point, failed, elsewhere) is None


def test_a_key_that_came_later_had_its_default() -> None:
    old = out_of_memory()
    del old.config["seed"]
    assert refusal(make_point(**SIZE), old) == NOT_RUN
    assert refusal(make_point(**SIZE, seed=1), old) is None


def test_a_permission_changes_nothing_in_what_is_run() -> None:
    within: dict[str, Any] = {"model": "llama-3-8b", "batch": 4, "prompt_tokens": 8000}
    beyond = make_point("r", **{**within, "prompt_tokens": 9000, "beyond_training": True})
    place = msgspec.structs.replace(PLACE, memory_bytes=None)
    assert memory_boundary.refusal(beyond, place, [out_of_memory(**within)]) == NOT_RUN
    old = run_directory.unfinished(beyond, PLACE.environment, outcome="ok", message="")
    assert old.config["beyond_training"] is True
    del old.config["beyond_training"]  # Recorded before there was the key.
    assert run_directory.difference(old, beyond, "cpu") is None


def test_lists_compare_as_stored(tmp_path: Path) -> None:
    keys: dict[str, Any] = {**SIZE, "model": "tiny-llada", "mode": "dlm_full", "block": 4, "schedule": [[1, 3]]}
    point = make_point(**keys)
    run_directory.write_record(tmp_path, out_of_memory(**keys))
    stored = run_directory.read(tmp_path)
    assert stored is not None
    assert refusal(point, stored) == NOT_RUN
    assert run_directory.difference(stored, point, "cpu") is None


def test_the_one_that_was_run_is_named() -> None:
    inferred = out_of_memory("inferred", message=NOT_RUN)
    assert refusal(make_point(**SIZE), inferred, out_of_memory()) == NOT_RUN


def test_weights_and_cache_beyond_the_whole_device_are_not_run() -> None:
    assert refusal(make_point(model="llama-3-8b")) == (
        "not run: weights and cache alone need 32.1 GB, but the device has 1.0 GB; "
        "expected a smaller model, batch or length, or a larger device"
    )
    unknown = msgspec.structs.replace(PLACE, memory_bytes=None)
    assert memory_boundary.refusal(make_point(model="llama-3-8b"), unknown, ()) is None


def sweep(out: Path, *points: Point) -> list[tuple[str, str | None, bool]]:
    results = Session(points, out, lambda _: None, counters="auto", bench=Worker(FAKE))
    return [(record.outcome, record.message, stored) for record, stored in results]


def test_a_sweep_runs_nothing_beyond_what_ran_out_of_memory(tmp_path: Path) -> None:
    big, bigger, huge = make_point("big", batch=4), make_point("r", batch=5), make_point("h", model="llama-3-8b")
    small = make_point("small", batch=3)
    results = sweep(tmp_path, big, bigger, huge, small)
    assert [outcome for outcome, *_ in results] == ["oom", "oom", "oom", "ok"]
    assert results[1][1] == NOT_RUN
    assert [name for _, method, name in log(tmp_path) if method == "record"] == ["big", "small"]
    record = run_directory.read(tmp_path / "r")
    assert record is not None
    assert (record.outcome, record.message, record.environment) == ("oom", NOT_RUN, PLACE.environment)
    assert record.config == run_directory.config_of(bigger, "cpu")
    assert {path.name for path in (tmp_path / "r").iterdir()} == {"run.json", "ceilings.json"}


def test_an_inference_survives_a_second_sweep_and_reaches_a_third(tmp_path: Path) -> None:
    sweep(tmp_path, make_point("big", batch=4), make_point("r", batch=5))
    again = sweep(tmp_path, make_point("big", batch=4), make_point("r", batch=5))
    assert [stored for *_, stored in again] == [True, True]
    assert sweep(tmp_path, make_point("s", batch=6)) == [("oom", NOT_RUN, False)]
    assert [name for _, _, name in log(tmp_path)] == ["big"]
