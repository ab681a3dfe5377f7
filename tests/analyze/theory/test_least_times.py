"""Least times: the slower of operations and bytes, on datasheets and on measured ceilings."""

import json
from pathlib import Path
from typing import Any

import pytest

from ridgeline.analyze.theory import output as theory_table
from ridgeline.analyze.theory.generation import Prediction, floor_s, predict, totals
from ridgeline.capture.configuration.forecast.roofs import Roofs
from ridgeline.capture.errors import ConfigError
from tests.analyze.theory.predicted import LLADA, LLAMA, ROOFS, llada, llama, one

DATA = Path(__file__).parents[2] / "data"


def test_the_ideal_gap_of_a_cached_block() -> None:
    """The products at an H200's measured 801 TFLOP/s and 4.46 TB/s: 6.4 to 1, and 3.4 ms for a decoding step."""
    roofs = Roofs(of="NVIDIA H200, measured", compute={"bf16": 801e12}, bytes_per_s=4.46e12)
    sizes: dict[str, int] = {"prompt": 1024, "generate": 128, "block": 32}
    naive = one(predict(LLADA, mode="dlm_full", **sizes), "denoise", "products")  # type: ignore[arg-type]
    cached = one(predict(LLADA, mode="dlm_block_dual", **sizes), "reuse", "products")  # type: ignore[arg-type]
    assert f"{naive.flops / naive.forwards / 1e12:.1f}" == "18.0"
    assert cached.bytes / cached.forwards == pytest.approx(15.7e9, rel=0.01)
    gap = floor_s(naive, roofs) / naive.forwards / (floor_s(cached, roofs) / cached.forwards)
    assert gap == pytest.approx(6.4, rel=0.015)
    decode = one(predict(LLAMA, mode="ar", prompt=1024, generate=2), "decode", "products")
    assert f"{floor_s(decode, roofs) * 1e3:.1f}" == "3.4"


def test_floor_is_the_slower_of_operations_and_bytes() -> None:
    def made(flops: int, moved: int) -> Prediction:
        return Prediction(
            convention="corrected",
            kind="decode",
            component="all",
            query=1,
            context=1,
            forwards=1,
            flops=flops,
            bytes=moved,
        )

    assert floor_s(made(200 * 10**12, 10**12), ROOFS) == 2.0
    assert floor_s(made(200 * 10**12, 3 * 10**12), ROOFS) == 3.0
    assert floor_s(made(200 * 10**12, 0), ROOFS, "fp32") == 20.0


def test_floor_of_unlike_steps_is_the_sum_of_theirs() -> None:
    """Where some are bound by operations and others by bytes, the floor of their sums would be less."""
    found = predict(LLADA, mode="dlm_block_dual", prompt=1024, generate=128, block=32)
    refresh, reuse = one(found, "refresh", "all"), one(found, "reuse", "all")
    (total,) = (each for each in totals(found, ROOFS, by_kind=False) if each.component == "all")
    assert total.floor_s == pytest.approx(refresh.flops / 100e12 + reuse.bytes / 1e12)
    assert total.floor_s > 1.05 * max(total.flops / 100e12, total.bytes / 1e12)
    steps = {(each.kind, each.component): each for each in totals(found, ROOFS, by_kind=True)}
    assert steps["reuse", "all"].bytes == reuse.bytes / 124
    assert steps["reuse", "all"].floor_s == pytest.approx(reuse.bytes / 124 / 1e12)
    assert steps["reuse", "all"].intensity == pytest.approx(reuse.intensity)


@pytest.mark.parametrize(
    ("name", "of", "flops_per_s", "bytes_per_s"),
    [
        ("NVIDIA RTX A6000", "NVIDIA RTX A6000", 154.8e12, 768e9),
        ("a6000", "NVIDIA RTX A6000", 154.8e12, 768e9),
        ("A100-80GB", "NVIDIA A100 SXM 80GB", 312e12, 2.039e12),
        ("A100", "NVIDIA A100 SXM 80GB", 312e12, 2.039e12),
        ("NVIDIA A100-SXM4-80GB", "NVIDIA A100 SXM 80GB", 312e12, 2.039e12),
        ("a100 pcie 80gb", "NVIDIA A100 PCIe 80GB", 312e12, 1.935e12),
        ("H100", "NVIDIA H100 SXM", 989.4e12, 3.35e12),
        ("H200", "NVIDIA H200", 989.4e12, 4.8e12),
        ("MI300X", "AMD Instinct MI300X", 1307.4e12, 5.3e12),
    ],
)
def test_devices_by_name(name: str, of: str, flops_per_s: float, bytes_per_s: float) -> None:
    roofs = theory_table.roofs_of(name)
    assert roofs.of == f"{of} by its datasheet"
    assert roofs.flops_per_s("fp16") == roofs.flops_per_s("bf16") == flops_per_s
    assert roofs.bytes_per_s == bytes_per_s


def test_of_several_devices_the_one_whose_whole_name_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Integer rates are no FLOP/s."""

    def entry(device: str, bandwidth: float) -> dict[str, Any]:
        rates: list[tuple[Any, ...]] = [
            ("compute", None, "fp16", 1e12, "FLOP/s"),
            ("compute", None, "int8", 2e12, "OP/s"),
        ]
        rates.append(("bandwidth", "dram", "", bandwidth, "byte/s"))
        names = ("resource", "level", "precision", "value", "unit_of_value")
        return {"device": device, "match": ["^x$"], "ceilings": [dict(zip(names, r, strict=True)) for r in rates]}

    monkeypatch.setattr(
        "ridgeline.warehouse.datasheets.devices", lambda: [entry("NVIDIA T9 SXM", 3e12), entry("NVIDIA T9", 1e12)]
    )
    roofs = theory_table.roofs_of("t9")
    assert (roofs.of, roofs.bytes_per_s) == ("NVIDIA T9 by its datasheet", 1e12)
    assert roofs.compute == {"fp16": 1e12}


def test_times_of_the_papers_devices() -> None:
    """A decoding step reads its bytes, a full diffusion step runs at the dense peak."""
    a6000, a100 = map(theory_table.roofs_of, ("A6000", "A100"))
    decode = one(llama(2048), "decode", "all")
    assert floor_s(decode, a6000) == decode.bytes / 768e9 == pytest.approx(19.9e-3, rel=0.001)
    assert floor_s(decode, a100) == decode.bytes / 2.039e12 == pytest.approx(7.50e-3, rel=0.001)
    full = llada(2176, "corrected")
    assert floor_s(full, a6000, "fp16") == full.flops / full.forwards * 32 / 154.8e12
    assert floor_s(full, a100, "fp16") == full.flops / 312e12


def test_measured_ceilings_are_roofs_as_well(tmp_path: Path) -> None:
    path = tmp_path / "h200.json"
    stored = json.loads((DATA / "h200/ceilings.json").read_text())
    path.write_text(json.dumps(stored))
    roofs = theory_table.roofs_of(str(path))
    best = max(r["value"] for r in stored["ceilings"] if (r["resource"], r["precision"]) == ("compute", "bf16"))
    assert roofs.flops_per_s("bf16") == best
    assert roofs.of == f"{stored['device']} as measured in h200.json"
    path.write_text('{"device": "x", "ceilings": [{"resource": "latency"}]}')
    with pytest.raises(ConfigError, match=r"is no ceilings file"):
        theory_table.roofs_of(str(path))
    with pytest.raises(ConfigError, match=r"cannot be read: No such file"):
        theory_table.roofs_of(str(tmp_path / "none.json"))
