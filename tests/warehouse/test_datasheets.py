import json
import re
from pathlib import Path
from typing import Any

import pytest

from ridgeline.warehouse import datasheets

Entry = dict[str, Any]

DEVICES: list[Entry] = json.loads((Path(__file__).parents[2] / "warehouse/datasheets.json").read_text())["devices"]

GIB = 1 << 30
REAL_NAMES: list[tuple[str, int | None, str]] = [
    # name, total memory, entry
    ("NVIDIA H200", 150_109_880_320, "NVIDIA H200"),
    ("NVIDIA H200 NVL", None, "NVIDIA H200 NVL"),
    ("NVIDIA H100 80GB HBM3", 85_018_279_936, "NVIDIA H100 SXM"),
    ("NVIDIA H100 PCIe", 85_028_765_696, "NVIDIA H100 PCIe"),
    ("NVIDIA H100 NVL", 99_456_909_312, "NVIDIA H100 NVL"),
    ("NVIDIA A100-SXM4-40GB", 42_297_524_224, "NVIDIA A100 SXM 40GB"),
    ("A100-SXM4-40GB", None, "NVIDIA A100 SXM 40GB"),
    ("NVIDIA A100-PG509-200", 42_505_273_344, "NVIDIA A100 SXM 40GB"),
    ("NVIDIA A100-PG509-200", 42_297_524_224, "NVIDIA A100 SXM 40GB"),
    ("NVIDIA PG509-210", 85_198_045_184, "NVIDIA A100 SXM 80GB"),
    ("NVIDIA A100-SXM4-80GB", 85_198_045_184, "NVIDIA A100 SXM 80GB"),
    ("NVIDIA A100-PCIE-40GB", 42_298_834_944, "NVIDIA A100 PCIe 40GB"),
    ("NVIDIA A100 80GB PCIe", 85_198_045_184, "NVIDIA A100 PCIe 80GB"),
    ("NVIDIA RTX A6000", 48 * GIB, "NVIDIA RTX A6000"),
    ("NVIDIA L40S", 45_589 << 20, "NVIDIA L40S"),
    ("NVIDIA L4", None, "NVIDIA L4"),
    ("NVIDIA GeForce RTX 4090", 24 * GIB, "NVIDIA GeForce RTX 4090"),
    ("NVIDIA GeForce RTX 3090", 24 * GIB, "NVIDIA GeForce RTX 3090"),
    ("NVIDIA A10", None, "NVIDIA A10"),
    ("NVIDIA A10G", None, "NVIDIA A10G"),
    ("Tesla V100-SXM2-16GB", None, "NVIDIA V100 SXM2"),
    ("Tesla V100-SXM2-32GB", None, "NVIDIA V100 SXM2"),
    ("Tesla V100-PCIE-32GB", None, "NVIDIA V100 PCIe"),
    ("Tesla V100S-PCIE-32GB", None, "NVIDIA V100S PCIe"),
    ("NVIDIA B200", 191_503_138_816, "NVIDIA B200"),
    ("AMD Instinct MI300X", 206_141_652_992, "AMD Instinct MI300X"),
    ("AMD Instinct MI250X", 68_702_699_520, "AMD Instinct MI250X"),
    ("NVIDIA H100 PCIe 80GB", None, "NVIDIA H100 PCIe"),
    ("NVIDIA H100-SXM5-80GB", None, "NVIDIA H100 SXM"),
    ("Tesla V100-DGXS-32GB", None, "NVIDIA V100 SXM2"),
    ("NVIDIA H20", 102_005_473_280, "NVIDIA H20"),
    ("NVIDIA H800", 85_017_493_504, "NVIDIA H800 SXM"),
    ("NVIDIA H800 PCIe", None, "NVIDIA H800 PCIe"),
    ("NVIDIA A800-SXM4-80GB", 85_198_045_184, "NVIDIA A800 SXM 80GB"),
    ("NVIDIA A800 80GB PCIe", None, "NVIDIA A800 PCIe 80GB"),
    ("NVIDIA A800 40GB Active", None, "NVIDIA A800 40GB Active"),
    ("NVIDIA GH200 480GB", 102_005_473_280, "NVIDIA GH200 96GB"),
    ("NVIDIA GH200 144G HBM3e", 150_109_880_320, "NVIDIA GH200 144GB"),
    ("NVIDIA GB200", 198_674_743_296, "NVIDIA GB200"),
    ("NVIDIA B100", None, "NVIDIA B100"),
    ("NVIDIA B300 SXM6 AC", 287_440_699_392, "NVIDIA B300"),
    ("NVIDIA GB300", None, "NVIDIA GB300"),
    ("NVIDIA GB10", None, "NVIDIA GB10"),
    ("NVIDIA GeForce RTX 5090", 32 * GIB, "NVIDIA GeForce RTX 5090"),
    ("NVIDIA GeForce RTX 5080", 16 * GIB, "NVIDIA GeForce RTX 5080"),
    ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", None, "NVIDIA RTX PRO 6000 Blackwell Workstation Edition"),
    ("NVIDIA RTX PRO 6000 Blackwell Server Edition", None, "NVIDIA RTX PRO 6000 Blackwell Server Edition"),
    (
        "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition",
        None,
        "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition",
    ),
    ("NVIDIA RTX 6000 Ada Generation", None, "NVIDIA RTX 6000 Ada Generation"),
    ("NVIDIA A30", None, "NVIDIA A30"),
    ("NVIDIA A40", None, "NVIDIA A40"),
    ("NVIDIA L40", None, "NVIDIA L40"),
    ("NVIDIA L20", None, "NVIDIA L20"),
    ("Tesla T4", None, "NVIDIA T4"),
    ("NVIDIA T4", None, "NVIDIA T4"),
    ("AMD Instinct MI210", None, "AMD Instinct MI210"),
    ("AMD Instinct MI250", None, "AMD Instinct MI250"),
    ("AMD Instinct MI300A", None, "AMD Instinct MI300A"),
    ("AMD Instinct MI325X", None, "AMD Instinct MI325X"),
    ("AMD Instinct MI350X", None, "AMD Instinct MI350X"),
    ("AMD Instinct MI355X", None, "AMD Instinct MI355X"),
    ("GAUDI2", None, "Intel Gaudi 2"),
    ("Intel Gaudi 3", None, "Intel Gaudi 3"),
    ("Intel(R) Data Center GPU Max 1550", 128 * GIB, "Intel Data Center GPU Max 1550"),
    ("Intel(R) Data Center GPU Max 1550", 64 * GIB, "Intel Data Center GPU Max 1550, one stack"),
    ("Intel(R) Data Center GPU Max 1100", None, "Intel Data Center GPU Max 1100"),
]
UNLISTED = [
    "NVIDIA GeForce RTX 4090 D",
    "NVIDIA GeForce RTX 4090 Laptop GPU",
    "NVIDIA GeForce RTX 3090 Ti",
    "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
    "NVIDIA A100-SXM-64GB",
    "NVIDIA A10M",
    "NVIDIA GeForce RTX 5090 Laptop GPU",
    "NVIDIA A100-SXM4-40GB MIG 1g.5gb",
    "AMD Instinct MI308X",
    "cpu",
]

# What the sheets print with sparsity, in TFLOP/s: twice what may stand in the file.
SPARSE: dict[str, dict[str, float]] = {
    "NVIDIA H200": {"tf32": 989, "bf16": 1979, "fp16": 1979, "fp8": 3958, "int8": 3958},
    "NVIDIA H200 NVL": {"tf32": 835, "bf16": 1671, "fp16": 1671, "fp8": 3341, "int8": 3341},
    "NVIDIA H100 SXM": {"tf32": 989, "bf16": 1979, "fp16": 1979, "fp8": 3958, "int8": 3958},
    "NVIDIA H100 PCIe": {"tf32": 756, "bf16": 1513, "fp16": 1513, "fp8": 3026, "int8": 3026},
    "NVIDIA H100 NVL": {"tf32": 835, "bf16": 1671, "fp16": 1671, "fp8": 3341, "int8": 3341},
    "NVIDIA A100 SXM 40GB": {"tf32": 312, "bf16": 624, "fp16": 624, "int8": 1248},
    "NVIDIA A100 SXM 80GB": {"tf32": 312, "bf16": 624, "fp16": 624, "int8": 1248},
    "NVIDIA A100 PCIe 40GB": {"tf32": 312, "bf16": 624, "fp16": 624, "int8": 1248},
    "NVIDIA A100 PCIe 80GB": {"tf32": 312, "bf16": 624, "fp16": 624, "int8": 1248},
    "NVIDIA RTX A6000": {"tf32": 154.8, "bf16": 309.7, "fp16": 309.7, "int8": 619.4},
    "NVIDIA L40S": {"tf32": 366, "bf16": 733, "fp16": 733, "fp8": 1466, "int8": 1466},
    "NVIDIA L4": {"tf32": 120, "bf16": 242, "fp16": 242, "fp8": 485, "int8": 485},
    "NVIDIA GeForce RTX 4090": {"tf32": 165.2, "bf16": 330.4, "fp16": 330.4, "fp8": 660.6, "int8": 1321.2},
    "NVIDIA GeForce RTX 3090": {"tf32": 71, "bf16": 142, "fp16": 142, "int8": 568},
    "NVIDIA A10": {"tf32": 125, "bf16": 250, "fp16": 250, "int8": 500},
    "NVIDIA A10G": {"tf32": 70, "bf16": 140, "fp16": 140, "int8": 280},
    "NVIDIA B200": {"tf32": 2200, "bf16": 4500, "fp16": 4500, "fp8": 9000, "int8": 9000, "fp4": 18000},
    "AMD Instinct MI300X": {"tf32": 1307.4, "bf16": 2614.9, "fp16": 2614.9, "fp8": 5229.8, "int8": 5229.8},
    "NVIDIA H800 SXM": {"tf32": 989, "bf16": 1979, "fp16": 1979, "fp8": 3958, "int8": 3958},
    "NVIDIA H800 PCIe": {"tf32": 756, "bf16": 1513, "fp16": 1513, "fp8": 3026, "int8": 3026},
    "NVIDIA A800 SXM 80GB": {"tf32": 312, "bf16": 624, "fp16": 624, "int8": 1248},
    "NVIDIA A800 PCIe 80GB": {"tf32": 312, "bf16": 624, "fp16": 624, "int8": 1248},
    "NVIDIA A800 40GB Active": {"tf32": 311.8, "bf16": 623.8, "fp16": 623.8, "int8": 1247.4},
    "NVIDIA GH200 96GB": {"tf32": 990, "bf16": 1979, "fp16": 1979, "fp8": 3958, "int8": 3958},
    "NVIDIA GH200 144GB": {"tf32": 990, "bf16": 1979, "fp16": 1979, "fp8": 3958, "int8": 3958},
    # sheets of systems: of two, eight and 72 devices
    "NVIDIA GB200": {"tf32": 2500, "bf16": 5000, "fp16": 5000, "fp8": 10000, "int8": 10000, "fp4": 20000},
    "NVIDIA B100": {"tf32": 1800, "bf16": 3500, "fp16": 3500, "fp8": 7000, "int8": 7000, "fp4": 14000},
    "NVIDIA B300": {"tf32": 2250, "bf16": 4500, "fp16": 4500, "fp8": 9000, "int8": 250},
    "NVIDIA GB300": {"tf32": 2500, "bf16": 5000, "fp16": 5000, "fp8": 10000, "int8": 319.4},
    "NVIDIA GB10": {"fp4": 1000},
    "NVIDIA RTX PRO 6000 Blackwell Server Edition": {"fp4": 4000},
    "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition": {"fp4": 3511},
    "NVIDIA GeForce RTX 5090": {"tf32": 209.5, "bf16": 419, "fp16": 419, "fp8": 838, "int8": 1676, "fp4": 3352},
    "NVIDIA GeForce RTX 5080": {"tf32": 112.6, "bf16": 225.1, "fp16": 225.1, "fp8": 450.2, "int8": 900.4},
    "NVIDIA RTX PRO 6000 Blackwell Workstation Edition": {"tf32": 503.8, "bf16": 1007.6, "fp8": 2015.2, "fp4": 4030.5},
    "NVIDIA RTX 6000 Ada Generation": {"tf32": 364.2, "bf16": 728.5, "fp8": 1457, "int8": 1457},
    "NVIDIA A30": {"tf32": 165, "bf16": 330, "fp16": 330, "int8": 661},
    "NVIDIA A40": {"tf32": 149.6, "bf16": 299.4, "fp16": 299.4, "int8": 598.6},
    "NVIDIA L40": {"tf32": 181, "bf16": 362.1, "fp16": 362.1, "fp8": 724, "int8": 724},
    "AMD Instinct MI300A": {"tf32": 980.6, "bf16": 1961.2, "fp16": 1961.2, "fp8": 3922.3, "int8": 3922.3},
    "AMD Instinct MI325X": {"tf32": 1307.4, "bf16": 2614.9, "fp16": 2614.9, "fp8": 5229.8, "int8": 5229.8},
    "AMD Instinct MI350X": {"bf16": 4600, "fp16": 4600, "fp8": 9200, "int8": 9200},
    "AMD Instinct MI355X": {"bf16": 5000, "fp16": 5000, "fp8": 10100, "int8": 10100},
}
DENSE_ONLY = {
    "NVIDIA V100 SXM2", "NVIDIA V100 PCIe", "NVIDIA V100S PCIe", "NVIDIA T4", "NVIDIA H20", "NVIDIA L20",
    "AMD Instinct MI250X", "AMD Instinct MI250", "AMD Instinct MI210", "Intel Gaudi 2", "Intel Gaudi 3",
    "Intel Data Center GPU Max 1550", "Intel Data Center GPU Max 1550, one stack", "Intel Data Center GPU Max 1100",
}  # fmt: skip
FP4_ONLY = {name for name, rates in SPARSE.items() if set(rates) == {"fp4"}}
"""Devices whose sheets print no other tensor rate."""


def matching(name: str, memory: int | None) -> list[str]:
    """The rule in the file's `about`: the name matches, and so does the memory where both are known."""

    def fits(entry: Entry) -> bool:
        low, high = entry.get("memory_bytes", (0, 1 << 60))
        return any(re.search(m, name) for m in entry["match"]) and (memory is None or low <= memory <= high)

    return [entry["device"] for entry in DEVICES if fits(entry)]


def peak(entry: Entry, unit: str, precision: str) -> int | None:
    rows = [c for c in entry["ceilings"] if (c["unit"], c["precision"]) == (unit, precision)]
    return rows[0]["value"] if rows else None


@pytest.mark.parametrize(
    ("name", "memory", "multiprocessors", "device"),
    [
        ("AMD Instinct MI300X VF", 205_571_227_648, 304, "AMD Instinct MI300X"),
        # ROCm leaves the name of some devices empty, or knows no better one
        ("", 206_141_652_992, 304, "AMD Instinct MI300X"),
        ("AMD Radeon Graphics", 274_861_129_728, 304, "AMD Instinct MI325X"),
        ("", 137_422_176_256, 228, "AMD Instinct MI300A"),
        ("", 68_702_699_520, 104, "AMD Instinct MI210"),
        ("", 309_220_868_096, 256, None),  # MI350X or MI355X
        ("", 206_141_652_992, None, None),
        # both devices have this name
        ("AMD Instinct MI250X/MI250", 68_702_699_520, 110, "AMD Instinct MI250X"),
        ("AMD Instinct MI250X/MI250", 68_702_699_520, 104, "AMD Instinct MI250"),
        ("AMD Instinct MI250X/MI250", 68_702_699_520, None, None),
        # a partition, one of eight
        ("AMD Instinct MI300X", 25_753_026_560, 38, None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", 10_468_982_784, 16, None),
    ],
)
def test_devices_that_the_name_alone_does_not_tell(
    name: str, memory: int, multiprocessors: int | None, device: str | None
) -> None:
    found = datasheets.match(name, memory, multiprocessors)
    assert (found and found["device"]) == device


@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("a100 80gb", "NVIDIA A100 SXM 80GB"), ("NVIDIA A100-SXM4-40GB", "NVIDIA A100 SXM 40GB"),
        ("H100", "NVIDIA H100 SXM"),
        ("rtx 5090", "NVIDIA GeForce RTX 5090"), ("mi300x", "AMD Instinct MI300X"), ("Gaudi 3", "Intel Gaudi 3"),
        ("max 1550", "Intel Data Center GPU Max 1550"), ("b200", "NVIDIA B200"),
    ],
)  # fmt: skip
def test_a_user_names_a_device_by_words(name: str, device: str) -> None:
    assert datasheets.named(name)["device"] == device


def test_an_unknown_device_has_close_names() -> None:
    with pytest.raises(LookupError) as caught:
        datasheets.named("mi308x")
    close = str(caught.value).split(", ")
    assert "AMD Instinct MI300X" in close
    assert len(close) <= 5
    with pytest.raises(LookupError, match=r"^NVIDIA H200, NVIDIA H200 NVL, .*, Intel Data Center GPU Max 1100$"):
        datasheets.named("abacus")


@pytest.fixture(params=DEVICES, ids=lambda entry: entry["device"])
def entry(request: pytest.FixtureRequest) -> Entry:
    found: Entry = request.param
    return found


@pytest.mark.parametrize(("name", "memory", "device"), REAL_NAMES)
def test_a_real_name_finds_its_device_and_no_other(name: str, memory: int | None, device: str) -> None:
    assert matching(name, memory) == [device]


@pytest.mark.parametrize("name", UNLISTED)
def test_a_name_that_is_not_listed_finds_nothing(name: str) -> None:
    assert matching(name, None) == []


def test_a_name_without_memory_does_not_distinguish_40_from_80_gb() -> None:
    assert len(matching("NVIDIA A100-PG509-200", None)) == 2


def test_every_device_is_found_by_a_real_name() -> None:
    assert {device for _, _, device in REAL_NAMES} == {entry["device"] for entry in DEVICES}


def test_names_are_unique() -> None:
    assert len({entry["device"] for entry in DEVICES}) == len(DEVICES)


def test_entry_is_well_formed(entry: Entry) -> None:
    assert set(entry) - {"memory_bytes", "multiprocessors", "l3_bytes", "url", "note"} == {
        "device",
        "match",
        "l2_bytes",
        "source",
        "ceilings",
    }
    assert re.search(r"\b20[12]\d\b", entry["source"]), "a source has a date"
    assert entry["l2_bytes"] is None or 4 << 20 <= entry["l2_bytes"] <= 408 << 20
    for pattern in entry["match"]:
        re.compile(pattern)
        assert pattern.startswith("^")
        assert pattern.endswith("$")


def test_ceilings_are_well_formed(entry: Entry) -> None:
    for row in entry["ceilings"]:
        assert set(row) == {"resource", "level", "unit", "precision", "value", "unit_of_value", "source", "method"}
        assert row["source"] == "datasheet"
        assert row["method"]
        assert isinstance(row["value"], int)
        if row["resource"] == "bandwidth":
            assert (row["level"], row["unit"]) in (("dram", None), ("link", "device"), ("link", "host"))
            assert (row["precision"], row["unit_of_value"]) == (None, "byte/s")
        else:
            assert row["resource"] == "compute"
            assert row["level"] is None
            assert row["unit"] in ("tensor", "vector")
            assert row["precision"] in ("fp64", "fp32", "tf32", "bf16", "fp16", "fp8", "int8", "fp4")
            assert row["unit_of_value"] == ("OP/s" if row["precision"] == "int8" else "FLOP/s")
    keys = [(c["resource"], c["level"], c["unit"], c["precision"]) for c in entry["ceilings"]]
    assert len(set(keys)) == len(keys)


def test_every_device_has_the_roofs_a_roofline_needs(entry: Entry) -> None:
    assert sum(c["level"] == "dram" for c in entry["ceilings"]) == 1
    assert peak(entry, "tensor", "bf16") or peak(entry, "tensor", "fp16") or entry["device"] in FP4_ONLY
    assert peak(entry, "vector", "fp32") or "Gaudi" in entry["device"]


def test_a_link_is_slower_than_dram_and_has_one_direction(entry: Entry) -> None:
    links = {row["unit"]: row for row in entry["ceilings"] if row["level"] == "link"}
    (dram,) = (row["value"] for row in entry["ceilings"] if row["level"] == "dram")
    for row in links.values():
        assert row["value"] < dram
        assert re.search(r"both directions together(: [\d,.]+ GB/s)?, halved$", row["method"])


def test_no_peak_is_a_sparse_one(entry: Entry) -> None:
    if entry["device"] in DENSE_ONLY:
        return
    for precision, sparse in SPARSE[entry["device"]].items():
        dense = peak(entry, "tensor", precision)
        assert dense == pytest.approx(sparse * 1e12 / 2, rel=0.02), precision


def test_lower_precisions_are_never_slower(entry: Entry) -> None:
    order = [peak(entry, "tensor", p) for p in ("tf32", "bf16", "fp8", "fp4")]
    known = [value for value in order if value]
    assert known == sorted(known)


@pytest.mark.parametrize(
    ("device", "unit", "precision", "value"),
    [
        ("NVIDIA H100 SXM", "tensor", "bf16", 989_400_000_000_000),
        ("NVIDIA H200", "tensor", "bf16", 989_400_000_000_000),
        ("NVIDIA H100 PCIe", "tensor", "bf16", 756_000_000_000_000),
        ("NVIDIA A100 SXM 40GB", "tensor", "bf16", 312_000_000_000_000),
        ("NVIDIA RTX A6000", "tensor", "fp16", 154_800_000_000_000),
        ("NVIDIA L40S", "tensor", "bf16", 362_050_000_000_000),
        ("NVIDIA GeForce RTX 4090", "tensor", "bf16", 165_200_000_000_000),
        ("NVIDIA B200", "tensor", "fp4", 9_000_000_000_000_000),
        ("AMD Instinct MI300X", "tensor", "bf16", 1_307_400_000_000_000),
        ("AMD Instinct MI250X", "tensor", "bf16", 191_500_000_000_000),
        ("NVIDIA H200", None, None, 4_800_000_000_000),
        ("NVIDIA A100 SXM 80GB", None, None, 2_039_000_000_000),
        ("NVIDIA A100 PCIe 80GB", None, None, 1_935_000_000_000),
        ("NVIDIA H200", "device", None, 450_000_000_000),
        ("NVIDIA H200", "host", None, 64_000_000_000),
        ("NVIDIA H800 SXM", "device", None, 200_000_000_000),
        ("NVIDIA V100 SXM2", "device", None, 150_000_000_000),
        ("AMD Instinct MI300X", "device", None, 448_000_000_000),
        ("AMD Instinct MI300X", "tensor", "fp64", 163_400_000_000_000),
        ("NVIDIA H200", "tensor", "fp64", 66_900_000_000_000),
        ("NVIDIA H20", "tensor", "fp8", 296_000_000_000_000),
        ("NVIDIA B300", "vector", "fp64", 1_250_000_000_000),
    ],
)
def test_known_peaks(device: str, unit: str | None, precision: str | None, value: int) -> None:
    (entry,) = (e for e in DEVICES if e["device"] == device)
    (row,) = (c for c in entry["ceilings"] if (c["unit"], c["precision"]) == (unit, precision))
    assert row["value"] == value
