"""Nsight Compute's command line and raw CSV, and how our counters compare with it."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from ridgeline.capture.counters import by_ncu, ncu_csv
from ridgeline.capture.counters.cupti import join
from ridgeline.capture.counters.cupti.join import Row
from ridgeline.capture.counters.ncu_csv import NcuKernel, NsightError

SHARED = Path(__file__).parents[4] / "shared" / "h200"
reference = pytest.mark.skipif(not SHARED.is_dir(), reason="the reference counters are not beside the project")

RAW = """==PROF== Connected to process 1
"ID","Kernel Name","Block","dram__bytes_read.sum","dram__bytes_write.sum","gpu__time_duration.sum","sm__ops.sum","warps"
==WARNING== Note
"","","","Mbyte","byte","us","",""
"0","void at::<unnamed>::f<int, (int)-2>(T1 *)","(128, 1, 1)","1,024.50","3","4.25","9,007","64"
"1","g","(1, 1, 1)","0","n/a","1","nan","64"
==PROF== Disconnected
"""


def test_raw_csv_comes_out_in_bytes_and_nanoseconds(tmp_path: Path) -> None:
    path = tmp_path / "x.ncu.csv"
    path.write_text(RAW)
    (tmp_path / "x.ncu.csv.gz").write_bytes(gzip.compress(RAW.encode()))
    first = {
        "dram__bytes_read.sum": 1_024_500_000.0,
        "dram__bytes_write.sum": 3.0,
        "gpu__time_duration.sum": 4250.0,
        "sm__ops.sum": 9007.0,
    }
    expected = [
        NcuKernel("void at::<unnamed>::f<int, (int)-2>(T1 *)", first),
        NcuKernel("g", {"dram__bytes_read.sum": 0.0, "gpu__time_duration.sum": 1000.0}),
    ]
    assert by_ncu.read(path) == expected
    assert by_ncu.read(tmp_path / "x.ncu.csv.gz") == expected


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("", "header"),
        ("a,b\n1,2\n", "header"),
        ('"ID","Kernel Name"\n', "units row"),
        ("Kernel Name\nf\n", "units row"),
    ],
)
def test_another_file_is_refused_by_name(tmp_path: Path, text: str, missing: str) -> None:
    path = tmp_path / "other.csv"
    path.write_text(text)
    with pytest.raises(
        NsightError, match=rf"^other\.csv: has no {missing}: expected what `ncu --csv --page raw` writes$"
    ):
        by_ncu.read(path)


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("byte", 1),
        ("Kbyte", 1e3),
        ("Mbyte", 1e6),
        ("Gbyte", 1e9),
        ("Tbyte", 1e12),
        ("Kinst", 1e3),
        ("nsecond", 1),
        ("ns", 1),
        ("usecond", 1e3),
        ("msecond", 1e6),
        ("ms", 1e6),
        ("second", 1e9),
        ("%", 1),
        ("", 1),
        ("warp", 1),
        ("Gbytes", 1e9),
        ("s", 1e9),
        ("msec", 1e6),
        ("hz", 1),
        ("register/thread", 1),
    ],
)
def test_units_are_scaled(unit: str, factor: float) -> None:
    assert ncu_csv.scale(unit) == factor


@pytest.mark.parametrize(
    ("kernel", "own"),
    [
        ("void at::native::(anonymous namespace)::f<int, -2>(at::native::G<int>, long)", "f"),
        ("void at::<unnamed>::f<int, (int)-2>(cuda::G<T1>, T3)", "f"),
        ("void <unnamed>::f<a::b<c>>()", "f"),
        ("nvjet_tst_64x8_64x16_2x1_v_bz_TNT", "nvjet_tst_64x8_64x16_2x1_v_bz_TNT"),
        ("void cutlass::Kernel2<cutlass_80_tensorop<int> >(cutlass_80_tensorop<int>::Params)", "Kernel2"),
        ("", ""),
    ],
)
def test_a_function_has_a_name_of_its_own(kernel: str, own: str) -> None:
    assert ncu_csv.own_name(kernel) == own


def test_the_command_runs_the_child_and_leaves_caches_and_clocks() -> None:
    line = by_ncu.command(["python", "-m", "child", "--csv"], Path("x.csv"), ncu="/opt/ncu", metrics=["a.sum", "b.sum"])
    assert line[0] == "/opt/ncu"
    assert line[-4:] == ["python", "-m", "child", "--csv"]
    options = line[1:-4]
    assert options[0] == "--csv"
    assert dict(zip(options[1::2], options[2::2], strict=True)) == {
        "--page": "raw",
        "--print-units": "base",
        "--clock-control": "none",
        "--cache-control": "none",
        "--profile-from-start": "off",
        "--target-processes": "all",
        "--metrics": "a.sum,b.sum",
        "--log-file": "x.csv",
    }


def test_ncu_is_found_in_the_path_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ncu = tmp_path / "ncu"
    ncu.write_text("#!/bin/sh\n")
    ncu.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert by_ncu.find() == ncu


def test_the_newest_installed_ncu_is_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("2025.9.0", "2025.10.1"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "ncu").touch()
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(by_ncu, "_PLACES", (f"{tmp_path}/*/ncu",))
    assert by_ncu.find() == tmp_path / "2025.10.1" / "ncu"
    monkeypatch.setattr(by_ncu, "_PLACES", ())
    assert by_ncu.find() is None


def rows(step: int, index: int, kernel: str, read: float, write: float) -> list[Row]:
    return [
        Row(step, index, kernel, "memory", "dram__bytes_read.sum", read),
        Row(step, index, kernel, "memory", "dram__bytes_write.sum", write),
        Row(step, index, kernel, "memory", "lts__t_bytes.sum", 1e9),
    ]


def ncu(name: str, read: float, write: float) -> NcuKernel:
    return NcuKernel(name, {"dram__bytes_read.sum": read, "dram__bytes_write.sum": write})


def test_two_countings_of_a_step_are_compared_launch_by_launch() -> None:
    ours = [*rows(3, 1, "void n::g<int>(int)", 30, 0), *rows(3, 0, "void a::f()", 60, 20)]
    found = by_ncu.agree(ours, [ncu("f", 50, 10), ncu("h", 30, 10), ncu("last", 1, 0)], worst=2)
    assert (found.kernels, found.ncu_kernels) == (2, 3)
    assert found.names_agree == pytest.approx(1 / 3)
    assert (found.dram_bytes, found.ncu_dram_bytes) == (110, 101)
    assert found.relative_difference == pytest.approx(110 / 101 - 1)
    assert found.worst == [by_ncu.Pair(0, "void a::f()", 80, 60), by_ncu.Pair(1, "void n::g<int>(int)", 30, 40)]


def test_nothing_agrees_with_nothing() -> None:
    found = by_ncu.agree([], [])
    assert (found.kernels, found.names_agree, found.relative_difference) == (0, 0.0, None)


def test_rows_of_two_steps_are_refused() -> None:
    with pytest.raises(NsightError, match="2 steps"):
        by_ncu.agree([*rows(0, 0, "f", 1, 1), *rows(1, 0, "f", 1, 1)], [])


@reference
@pytest.mark.parametrize(
    ("name", "kernels", "gigabytes"),
    [
        ("ar_decode", 1492, 15.29),
        ("ar_decode_b16", 1460, 16.42),
        ("dlm_full", 1244, 36.26),
        ("dlm_prefix", 1339, 17.36),
    ],
)
def test_real_counters_fit_the_kernels_of_the_trace_beside_them(name: str, kernels: int, gigabytes: float) -> None:
    theirs = by_ncu.read(SHARED / f"{name}.ncu.csv.gz")
    trace = gzip.decompress((SHARED / f"{name}.json.gz").read_bytes())
    found = [
        kernel.name for kernel in join.kernels(trace, [f"phase={name.removesuffix('_b16')} step=0"]) if kernel.step == 0
    ]
    ours = [row for index, kernel in enumerate(found) for row in rows(0, index, kernel, 1, 0)]
    agreement = by_ncu.agree(ours, theirs)
    assert agreement.ncu_dram_bytes / 1e9 == pytest.approx(gigabytes, abs=0.01)
    assert (agreement.kernels, agreement.ncu_kernels, agreement.names_agree) == (kernels, kernels, 1.0)
    shifted = by_ncu.agree(ours, theirs[1:])
    assert shifted.names_agree < 0.9
