"""Ceilings: rows of the documented form, reused by the next sweep on the same device."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from ridgeline.capture.ceilings import cpu, links
from ridgeline.capture.ceilings.ceiling import save, stored
from ridgeline.capture.ceilings.measure import measure
from tests.capture.conftest import Captured

CPU = torch.device("cpu")
KEYS = {"resource", "level", "unit", "precision", "value", "unit_of_value", "source", "method"}


@pytest.fixture(scope="module")
def measured(captured: Captured) -> dict[str, Any]:
    return msgspec.json.decode((captured.folder / "ceilings.json").read_bytes(), type=dict[str, Any])


def test_the_rows_of_a_cpu(measured: dict[str, Any]) -> None:
    rows = measured["ceilings"]
    assert all(set(row) == KEYS for row in rows)
    assert [(row["resource"], row["level"], row["unit"], row["precision"], row["unit_of_value"]) for row in rows] == [
        ("bandwidth", "dram", None, None, "byte/s"),
        ("bandwidth", "dram", None, None, "byte/s"),
        ("bandwidth", "l2", None, None, "byte/s"),
        ("compute", None, "vector", "fp32", "FLOP/s"),
        ("compute", None, "vector", "bf16", "FLOP/s"),
        ("compute", None, "vector", "fp64", "FLOP/s"),
        ("latency", None, None, None, "s"),
    ]
    assert {row["source"] for row in rows} == {"measured"}


def test_the_values_of_a_cpu_are_possible(measured: dict[str, Any]) -> None:
    value = {(row["level"], row["precision"]): row["value"] for row in measured["ceilings"]}
    assert 1e8 < value["dram", None] < 1e13
    assert 1e8 < value[None, "fp64"] < value[None, "fp32"] < 1e15
    assert 1e-8 < measured["ceilings"][-1]["value"] < 1e-2


def test_the_header_says_what_was_measured(measured: dict[str, Any]) -> None:
    assert measured["format"] == 1
    assert measured["torch"] == str(torch.__version__)
    assert (measured["device_kind"], measured["driver"]) == ("cpu", None)
    assert len(measured["measured_on"]) == len("2026-01-31")


def test_every_run_has_the_ceilings_of_its_device(captured: Captured) -> None:
    shared = (captured.folder / "ceilings.json").read_bytes()
    assert {(path / "ceilings.json").read_bytes() for path in captured.folder.iterdir() if path.is_dir()} == {shared}


@pytest.mark.parametrize("change", [{"device": "another"}, {"torch": "1.0"}, {"format": 0}])
def test_ceilings_of_another_device_or_torch_are_measured_again(
    measured: dict[str, Any], change: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "ceilings.json"
    save(path, measured)
    assert stored(path, CPU) == measured
    save(path, {**measured, **change})
    assert stored(path, CPU) is None


def test_a_file_that_is_no_json_is_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "ceilings.json"
    path.write_text("{")
    assert stored(path, CPU) is None


def test_a_set_in_dram_is_larger_than_any_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "BUDGET_S", 0.0)
    monkeypatch.setattr(cpu, "_PRODUCT_SIZE", 64)
    monkeypatch.setattr(cpu, "_cache_bytes", lambda level: 2**27 if level == 3 else 2**20)
    read, *_ = cpu.measure(CPU, lambda _: None)
    assert read.method == "sum over 512 MiB of float32, best of repeats"


def test_a_cpu_has_no_links() -> None:
    assert links.measure(CPU, lambda _: None) == []


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_links_of_a_gpu() -> None:
    rows = links.measure(torch.device("cuda", 0), lambda _: None)
    assert [row.unit for row in rows] == ["host"] * 2 + ["device"] * (torch.cuda.device_count() - 1)
    assert all(1e9 < row.value < 1e12 for row in rows)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_roofs_of_a_gpu_are_in_order() -> None:
    rows = measure("cuda")["ceilings"]
    bandwidth = {row["level"]: row["value"] for row in rows if row["resource"] == "bandwidth"}
    compute = {row["precision"]: row["value"] for row in rows if row["resource"] == "compute"}
    assert bandwidth["l2"] > bandwidth["dram"] > 1e11
    assert compute["bf16"] > compute["tf32"] > compute["fp32"] > 1e12
    (latency,) = [row["value"] for row in rows if row["resource"] == "latency"]
    assert 5e-7 < latency < 1e-5
