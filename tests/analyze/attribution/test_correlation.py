"""Kernels of writers without correlation ids join the launch whose External id they have, if the evidence is for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ridgeline.analyze.attribution.operators import attribute, build_tree, parse_labels
from ridgeline.analyze.reading.parts import read_part
from ridgeline.analyze.reading.trace import Trace, assemble
from ridgeline.analyze.tables.warnings import warning_rows
from tests.analyze import kineto
from tests.analyze.kineto import Event


def launch(start_us: float, external_id: int, **args: Any) -> Event:
    return kineto.span("cuda_runtime", "hipLaunchKernel", start_us, 1.0, **{"External id": external_id}, **args)


def kernel(name: str, start_us: float, external_id: int) -> Event:
    event = kineto.kernel(name, start_us, 3.0, **{"External id": external_id})
    del event["args"]["stream"], event["args"]["device"]
    return event


def joined(tmp_path: Path, *events: Event) -> tuple[dict[str, tuple[str | None, str]], Trace, list[str]]:
    """The operator and the attribution of each kernel by its name, the trace, and its warnings."""
    path = kineto.write(tmp_path / "t.json", events)
    trace = assemble([read_part(path)], path)
    activities = attribute(trace, build_tree(trace, parse_labels(trace)))
    rows = activities.select("name", "operator", "attribution").iter_rows()
    operators = [trace.names[code] for code in trace.operators["name"]]
    found = {trace.names[name]: (None if row is None else operators[row], how) for name, row, how in rows}
    return found, trace, [row["message"] for row in warning_rows(trace, activities)]


ADD, MM = kineto.operator("aten::add", 10.0, 10.0, 25), kineto.operator("aten::mm", 30.0, 10.0, 513)
OLD = (ADD, launch(12.0, 24), kernel("add", 20.0, 24), MM, launch(32.0, 25), kernel("gemm", 40.0, 25))
"""The id of the product's launch is that of another operator, which ran before."""


def test_a_kernel_goes_to_the_operator_around_its_launch(tmp_path: Path) -> None:
    found, trace, messages = joined(tmp_path, *OLD)
    assert found == {"add": ("aten::add", "launch"), "gemm": ("aten::mm", "launch")}
    assert trace.device["correlation"].to_list() == [24, 25]
    assert trace.device["stream"].to_list() == [7, 7]  # from the thread
    assert messages == []


def test_a_launch_of_another_kernel_or_a_later_one_does_not_fit(tmp_path: Path) -> None:
    events = [
        *OLD, launch(34.0, 30, Kernel="gemm.kd"), kernel("gemm", 44.0, 30), launch(35.0, 31, Kernel="other"),
        kernel("not other", 48.0, 31), launch(70.0, 32), kernel("early", 60.0, 32), kernel("unlaunched", 62.0, 25000),
        launch(36.0, 33, Kernel="_Z4gemmPf"), kernel("mangled", 54.0, 33),
    ]  # fmt: skip
    found, _, messages = joined(tmp_path, *events, kineto.operator("aten::wrong", 55.0, 40.0, 25000))
    assert found == {
        "add": ("aten::add", "launch"),
        "gemm": ("aten::mm", "launch"),
        "mangled": ("aten::mm", "launch"),
        "not other": (None, "unattributed"),
        "early": (None, "unattributed"),
        "unlaunched": (None, "unattributed"),
    }
    assert [message for message in messages if "2 of 6 device activities have no operator" in message]


def test_without_evidence_no_kernel_is_joined(tmp_path: Path) -> None:
    events = [launch(50.0 + number, number) for number in range(3)]
    events += [kernel(f"k{number}", 10.0 + number, number) for number in range(3)]
    found, _, messages = joined(tmp_path, ADD, kineto.operator("aten::mm", 5.0, 90.0, 1), *events)
    assert set(found.values()) == {(None, "unattributed")}
    assert len(messages) == 1
    assert "3 of 3" in messages[0]


@pytest.mark.parametrize("others", [[], [launch(13.0, 25), launch(33.0, 513)]], ids=["no launches", "operators' ids"])
def test_an_operators_id_stays_one(tmp_path: Path, others: list[Event]) -> None:
    kernels = [kernel("add", 20.0, 25), kernel("gemm", 40.0, 513)]
    found, _, messages = joined(tmp_path, ADD, MM, *others, *kernels)
    assert found == {"add": ("aten::add", "external_id"), "gemm": ("aten::mm", "external_id")}
    assert messages == []


def test_one_correlation_id_shows_that_the_writer_has_them(tmp_path: Path) -> None:
    found, *_ = joined(tmp_path, *OLD, kineto.launch(14.0, 7), kineto.kernel("new", 60.0, 3.0, 7))
    assert found["gemm"] == ("aten::add", "external_id")
