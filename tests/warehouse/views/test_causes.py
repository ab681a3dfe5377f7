"""Why a kernel is slow: each cause has kernels that earn it, with exact evidence, and a near miss that does not."""

from __future__ import annotations

from typing import Any, NamedTuple

import duckdb
import pytest

from tests.warehouse.rows import device, insert, kernel, rolled_back

Connection = duckdb.DuckDBPyConnection
Values = dict[str, Any]


class Case(NamedTuple):
    """The first values earn the cause, its evidence and the limit of the roof's fraction; the others miss the cause."""

    earns: Values
    evidence: str
    misses: Values
    limit: float | None = None


def launch(blocks: int, threads: int = 128, registers: int = 32, shared_bytes: int = 0, **more: Any) -> Values:
    """The geometry of a launch in one dimension."""
    grid = {"grid_x": blocks, "grid_y": 1, "grid_z": 1}
    return (
        grid
        | {"block_x": threads, "block_y": 1, "block_z": 1, "registers": registers, "shared_bytes": shared_bytes}
        | more
    )


def counted(**values: float) -> Values:
    names = {"dram": "dram__bytes.sum", "l2": "lts__t_bytes.sum", "l1": "l1tex__t_bytes.sum", "vector": FMA}
    return {"counters": {names[name]: value for name, value in values.items()}}


FMA = "smsp__sass_thread_inst_executed_op_ffma_pred_on.sum"
# The device moves 1 TB/s and computes 100 TFLOP/s on tensor units: 1e9 FLOPs take 10 us, 1e7 bytes 10 us. It runs no
# kernel in less than 1 us, has 132 multiprocessors, and each holds 2,048 threads, 65,536 registers and 228 KiB.
PRODUCT = {"duration_ns": 50_000, "flops": 1e9, "bytes": 1e6}
NEAR = PRODUCT | {"duration_ns": 15_000}
COPY = {"duration_ns": 50_000, "flops": 0.0, "bytes": 1e7, "family": "copy", "unit": "vector", "precision": "fp32"}
HALF = COPY | {"duration_ns": 20_000}
WIDE = launch(132 * 16)
SHORT = {"duration_ns": 3_900, "bytes": 1e6, "flops": 1.0}
PYTORCH = "void at::native::"

CASES = {
    "short": [Case(SHORT, "under 4.0 µs, four times the shortest launch", SHORT | {"duration_ns": 4_000})],
    "few_blocks": [
        Case(PRODUCT | launch(32), "32 blocks on 132 multiprocessors: at most 24 % of them work",
            PRODUCT | launch(100), 32 / 132),
        Case(PRODUCT | launch(1), "1 block on 132 multiprocessors: at most 1 % of them work", PRODUCT, 1 / 132),
        # fewer multiprocessors than all may saturate the DRAM
        Case(COPY | launch(99), "99 blocks on 132 multiprocessors: at most 75 % of them work", COPY | launch(100)),
        # above half of the roof: only for products, which need all
        Case(NEAR | launch(99), "99 blocks on 132 multiprocessors: at most 75 % of them work",
            COPY | {"duration_ns": 15_000} | launch(99), 0.75),
        # a kernel without a price
        Case({"duration_ns": 50_000} | launch(32), "32 blocks on 132 multiprocessors: at most 24 % of them work",
            {"duration_ns": 50_000} | launch(264)),
    ],
    "tail": [
        # 228 KiB hold one block of 132 KiB
        Case(PRODUCT | launch(145, shared_bytes=135_168), "1.1 waves: the second runs 10 % full",
            PRODUCT | launch(264, shared_bytes=135_168), 145 / 264),
        # 255 registers, 256 with their unit, let a partition hold two warps of its 16,384: 8 warps, 2 blocks of 4
        Case(PRODUCT | launch(290, registers=255), "1.1 waves: the second runs 10 % full",
            PRODUCT | launch(290, registers=128), 290 / 396),
        Case(NEAR | launch(560, registers=255), "2.1 waves: the third runs 12 % full",
            COPY | {"duration_ns": 15_000} | launch(560, registers=255), 560 / 132 / 5),
        # of 1.3 waves a full second one would save 35 % of the time, less than half of what a kernel at a tenth loses
        Case(COPY | {"duration_ns": 30_000} | launch(341, registers=255), "1.3 waves: the second runs 29 % full",
            COPY | {"duration_ns": 100_000} | launch(341, registers=255)),
    ],
    "padding": [
        Case(PRODUCT | counted(vector=4e9), "executes 8.0 times its FLOPs: padded tiles",
            PRODUCT | counted(vector=7e8), 0.125),
        # attention computes again what it does not keep: not all of that is padding
        Case(PRODUCT | counted(vector=4e9) | {"family": "attention"},
            "executes 8.0 times its FLOPs: padding, or work that its algorithm does not count",
            PRODUCT | counted(vector=7e8) | {"family": "attention"}, 0.125),
    ],
    "strided": [
        Case(COPY | {"kernel": f"{PYTORCH}unrolled_elementwise_kernel<at::native::f>(int)"},
            "unrolled_elementwise_kernel loads one element at a time, not vectors of up to 16 bytes",
            COPY | {"kernel": f"{PYTORCH}vectorized_elementwise_kernel<4, at::native::f>(int)"}),
        Case(COPY | {"kernel": f"{PYTORCH}unrolled_elementwise_kernel<f, at::native::memory::LoadWithCast<1> >(int)"},
            "unrolled_elementwise_kernel converts types: it loads one element at a time, not vectors of up to 16 bytes",
            COPY | {"kernel": f"{PYTORCH}vectorized_templated_elementwise_kernel<f, LoadWithCast<1> >(int)"}),
        Case(COPY | {"kernel": f"{PYTORCH}(anonymous namespace)::CatArrayBatchedCopy<f, unsigned int, 4, 64, 64>(f*)"},
            "CatArrayBatchedCopy loads one element at a time: an input is not contiguous",
            COPY | {"kernel": f"{PYTORCH}(anonymous namespace)::CatArrayBatchedCopy_contig<f, unsigned int, 1>(f*)"}),
        Case(PRODUCT | {"kernel": "cutlass_75_tensorop_bf16_s1688gemm_bf16_128x128_tn_align1>(P)"},
            "loads one element at a time (align1 in its name), as for rows that are no multiple of 16 bytes",
            PRODUCT | {"kernel": "cutlass_80_tensorop_bf16_s16816gemm_bf16_128x128_tn_align8>(P)"}),
        Case(PRODUCT | {"kernel": "cutlass_75_tensorop_bf16_s1688gemm_bf16_128x128_tn_align2>(P)"},
            "loads two elements at a time (align2 in its name), as for rows that are no multiple of 16 bytes",
            COPY | {"kernel": "cutlass_80_simt_sgemm_128x64_8x5_nt_align1>(P)"}),
        Case(COPY | {"kernel": f"{PYTORCH}elementwise_kernel<128, 4, at::native::f>(int)"},
            "elementwise_kernel loads one element at a time: an operand is strided or broadcast",
            COPY | {"kernel": f"{PYTORCH}index_elementwise_kernel<128, 4, at::native::f>(int)"}),
        # early releases name contiguous loops so too
        Case(COPY | {"kernel": f"{PYTORCH}elementwise_kernel<128, 2, at::native::f>(int)"},
            "elementwise_kernel loads one element at a time: an operand is strided or broadcast",
            COPY | {"kernel": f"{PYTORCH}elementwise_kernel<512, 1, at::native::f>(int)"}),
        Case(COPY | counted(dram=1e7, l1=6e7),
            "6 times its compulsory bytes passed the L1: strided, scattered or repeated access",
            COPY | counted(dram=1e7, l1=2.9e7)),
        Case(COPY | counted(dram=1e7, l2=4e7),
            "4 times its compulsory bytes passed the L2: strided, scattered or repeated access",
            COPY | counted(dram=1e7, l2=4e7) | {"family": "attention"}),
    ],
    "l2_hits": [
        Case(HALF | counted(dram=5e6), "DRAM moved 50 % of its compulsory bytes: the L2 cache served the rest",
            HALF | counted(dram=5.1e6)),
        # without the L2 too it would be far from the roof
        Case(HALF | counted(dram=1e5), "DRAM moved under 5 % of its compulsory bytes: the L2 cache served the rest",
            COPY | counted(dram=1e5)),
    ],
    "occupancy": [
        Case(COPY | launch(264), "2.0 blocks of 128 threads for each multiprocessor: 8 of 64 warps",
            COPY | launch(264, 512)),
        # products need few warps, on vector units too
        Case(COPY | launch(132), "1.0 blocks of 128 threads for each multiprocessor: 4 of 64 warps",
            COPY | launch(132) | {"family": "matmul"}),
        Case(COPY | WIDE | {"registers": 255},
            "registers (255 a thread) leave room for 2 blocks of 128 threads: 8 of 64 warps",
            PRODUCT | WIDE | {"registers": 255}),
        Case(COPY | WIDE | {"shared_bytes": 100_000},
            "shared memory (100000 bytes a block) leaves room for 2 blocks of 128 threads: 8 of 64 warps", COPY | WIDE),
        # Kineto's own estimate counts, unless it is 0
        Case(COPY | WIDE | {"registers": 255, "occupancy": 0.0},
            "registers (255 a thread) leave room for 2 blocks of 128 threads: 8 of 64 warps",
            COPY | WIDE | {"registers": 255, "occupancy": 0.25}),
    ],
    "split_k": [
        Case(COPY | {"kernel": "nvjet_tst_64x8_splitK_TNT"},
            "split along K, as its name says: partial products pass through memory",
            COPY | {"kernel": "flash_fwd_splitkv_kernel"}),
    ],
    "clock": [],
    "waits": [],
    "helper": [],
}  # fmt: skip


AS_H200 = """
    UPDATE devices SET multiprocessors = 132, compute_capability = '9.0', multiprocessor_threads = 2048,
    multiprocessor_registers = 65536, multiprocessor_shared_bytes = 233472
"""
"""Give devices the multiprocessors of an H200."""


@pytest.fixture
def hopper(run: Connection) -> Connection:
    run.execute(AS_H200)
    return run


def causes(run: Connection, *kernels: Values) -> list[tuple[Any, ...]]:
    """Insert kernels; return each one's first cause of ``kernel_causes``, which must be that of ``placed_kernels``."""
    run.execute("DELETE FROM kernels; DELETE FROM kernel_classes; DELETE FROM signatures; DELETE FROM counters")
    for number, values in enumerate(kernels, 1):
        facts = dict(values)
        counters = facts.pop("counters", {})
        kernel(run, number, **facts)
        for metric, value in counters.items():
            insert(run, "counters", run_id="r", kernel_id=number, metric=metric, value=value, source="cupti")
    sql = "SELECT kernel_id, cause, evidence, limit_fraction FROM kernel_causes WHERE place = 1"
    first = {number: row for number, *row in run.execute(sql).fetchall()}
    placed = run.execute("SELECT kernel_id, cause, diagnosis FROM placed_kernels ORDER BY kernel_id").fetchall()
    assert [number for number, *_ in placed] == [*range(1, len(kernels) + 1)]
    rows = [tuple(first.get(number, (None, None, None))) for number, *_ in placed]
    for (_, named, diagnosis), (cause, evidence, _) in zip(placed, rows, strict=True):
        assert named == cause
        assert evidence is None or evidence in diagnosis
    return rows


def cause(run: Connection, values: Values) -> tuple[Any, ...]:
    """The first cause of a kernel, its evidence and its limit, or three times None."""
    (row,) = causes(run, values)
    return row


EACH = [(name, case) for name, cases in CASES.items() for case in cases]


@pytest.fixture(scope="module")
def caused(defined: Connection) -> list[tuple[Any, ...]]:
    """The first cause of each case's two kernels: all run on one device, for a question takes 80 ms."""
    with rolled_back(defined):
        device(defined)
        defined.execute(AS_H200)
        return causes(defined, *(values for _, case in EACH for values in (case.earns, case.misses)))


@pytest.mark.parametrize("number", range(len(EACH)), ids=[name for name, _ in EACH])
def test_a_kernel_earns_each_cause_and_a_near_miss_does_not(caused: list[tuple[Any, ...]], number: int) -> None:
    name, case = EACH[number]
    earned, missed = caused[2 * number : 2 * number + 2]
    assert earned == (name, case.evidence, pytest.approx(case.limit))
    assert missed[0] != name


def test_causes_are_ordered_and_all_listed(hopper: Connection) -> None:
    first = cause(
        hopper, HALF | {"kernel": f"{PYTORCH}elementwise_kernel<128, 4, f>(int)"} | launch(32) | counted(dram=1e6)
    )
    assert first[0] == "few_blocks"
    rows = hopper.execute("SELECT place, cause FROM kernel_causes ORDER BY place").fetchall()
    assert rows == [(1, "few_blocks"), (2, "strided"), (3, "l2_hits")]


@pytest.mark.parametrize(
    "counts", [{"dram": 0.0}, {"dram": 1e6, "vector": 1e6}, {"dram": 0.0, "l2": 0.0, "l1": 0.0, "vector": 0.0}]
)
def test_a_kernel_without_work_has_no_ratio(hopper: Connection, counts: dict[str, float]) -> None:
    assert cause(hopper, COPY | {"bytes": 0.0} | counted(**counts))[0] is None


def test_evidence_stands_beside_what_makes_the_price_doubtful(hopper: Connection) -> None:
    def diagnosis(values: Values) -> str:
        cause(hopper, values | launch(32))
        ((text,),) = hopper.execute("SELECT diagnosis FROM kernel_roofline").fetchall()
        return str(text)

    few = "32 blocks on 132 multiprocessors: at most 24 % of them work"
    assert diagnosis(COPY) == few
    assert diagnosis(COPY | {"confidence": "low"}) == f"far from its roof, if the guess of its price is right; {few}"
    assert diagnosis(COPY | {"flops": None}) == f"far from its bandwidth; its compute roof is unknown; {few}"
    lost = {
        "duration_ns": 50_000,
        "attribution": "unattributed",
        "signature_id": None,
        "launch_ns": 1,
        "replayed": True,
    }
    assert diagnosis(lost) == f"no operator: replayed from a graph; {few}"
    assert diagnosis(SHORT) == "too short for any roof to matter: under 4.0 µs, four times the shortest launch"


def test_helpers_and_collectives_have_causes_of_their_own(hopper: Connection) -> None:
    helper = {"duration_ns": 50_000, "flops": 1e9, "bytes": 1e6, "share": 0.0}
    overhead = "overhead of its operator: the main kernels carry the cost"
    adds = "adds up partial products: the product was split along K"
    reduction = helper | {"kernel": "cublasLt::splitKreduce_kernel"}
    assert causes(hopper, helper | launch(32), reduction) == [("helper", overhead, None), ("split_k", adds, None)]
    insert(hopper, "ceilings", run_id="r", device="D", resource="bandwidth", level="link", unit="device", value=1e11,
        unit_of_value="byte/s", source="measured")  # fmt: skip
    sent = {"family": "communication", "bytes": 1e9, "flops": 0.0, "link_bytes": 1e6}
    waits, none = causes(hopper, *(sent | {"duration_ns": ns} | launch(32) for ns in (20_100, 20_000)))
    assert (waits[0], none[0]) == ("waits", None)


RUN = "of the samples of the timed run: 1.63 of 1.98 GHz, 690 W: at most 18 % of its time"


@pytest.mark.parametrize(
    ("reasons", "text"),
    [
        (["4", "4", "0"], f"at the power limit in 67 % {RUN}"),
        (["32", "32", "0"], f"throttled by heat in 67 % {RUN}"),
        (["4", "0", "0"], None),
        (["1", "1", "1"], None),  # idle
        (["x", None, "x"], None),
    ],
)
def test_products_near_their_roof_run_at_the_clock_of_the_run(
    hopper: Connection, reasons: list[str | None], text: str | None
) -> None:
    for time_ns, (reason, clock_hz) in enumerate(zip(reasons, (1.5e9, 1.4e9, 1.98e9), strict=True)):
        values = {"sm_clock_hz": clock_hz, "power_w": 690.2, "throttle_reasons": reason}
        insert(hopper, "telemetry", run_id="r", time_ns=time_ns, **values)
    near, *others = causes(
        hopper,
        NEAR,
        PRODUCT,  # a clock alone does not halve a rate
        COPY | {"duration_ns": 15_000},
        PRODUCT | {"duration_ns": 19_000},  # 18 % of the time is less than half of the 48 % above the roof
    )
    assert near == ("clock" if text else None, text, None)
    assert others == [(None, None, None)] * 3
    # a limit that leaves the clock alone
    hopper.execute("UPDATE telemetry SET sm_clock_hz = 1.97e9 WHERE sm_clock_hz < 1.9e9")
    assert cause(hopper, NEAR)[0] is None


def test_bytes_through_the_l2_explain_no_kernel_far_from_its_roof_too(hopper: Connection) -> None:
    insert(hopper, "ceilings", run_id="r", device="D", resource="bandwidth", level="l2", value=4e12,
        unit_of_value="byte/s", source="measured")  # fmt: skip
    scattered = COPY | counted(dram=1e7, l2=4e7)
    strided, none = causes(hopper, scattered, scattered | {"duration_ns": 51_000})
    assert (strided[0], none[0]) == ("strided", None)  # 10 of 50 us


def geometry(run: Connection, **values: Any) -> tuple[Any, ...]:
    cause(run, PRODUCT | launch(**values))
    (row,) = run.execute("SELECT resident_blocks, block_limit, waves, occupancy FROM launch_geometry").fetchall()
    return row


LAUNCHES: list[tuple[str | None, Values, tuple[Any, ...]]] = [
    ("9.0", {"blocks": 512, "registers": 218, "shared_bytes": 19_200}, (2, "registers", 512 / 264, 0.125)),
    ("9.0", {"blocks": 264, "threads": 33}, (32, "threads", 264 / 132 / 32, 2 * 33 / 2048)),
    ("9.0", {"blocks": 132 * 64, "threads": 32}, (32, "blocks", 2.0, 0.5)),
    ("7.5", {"blocks": 132 * 64, "threads": 32}, (16, "blocks", 4.0, 0.25)),
    # the driver's 1 KiB: two blocks of 113 KiB fit 228, three of 76 do not
    ("9.0", {"blocks": 132, "shared_bytes": 115_712}, (2, "shared memory", 0.5, 128 / 2048)),
    ("9.0", {"blocks": 132, "shared_bytes": 77_000}, (2, "shared memory", 0.5, 128 / 2048)),
    ("7.0", {"blocks": 132, "shared_bytes": 77_000}, (3, "shared memory", 1 / 3, 128 / 2048)),
    ("13.0", {"blocks": 132}, (None, None, None, None)),
    (None, {"blocks": 132}, (None, None, None, None)),
    # a launch that the device cannot run is of another device
    ("9.0", {"blocks": 132, "shared_bytes": 300_000}, (None, None, None, None)),
]  # fmt: skip


def test_waves_follow_from_what_a_multiprocessor_holds(connection: Connection) -> None:
    for number, (_, values, _) in enumerate(LAUNCHES):
        device(connection, str(number), f"D{number}")
        facts: Values = PRODUCT | launch(**values)
        kernel(connection, number, run_id=str(number), **facts)
    connection.execute(AS_H200)
    for number, (capability, _, _) in enumerate(LAUNCHES):
        sql = "UPDATE devices SET compute_capability = ? WHERE run_id = ?"
        connection.execute(sql, [capability, str(number)])
    columns = "resident_blocks, block_limit, waves, occupancy"
    found = connection.execute(f"SELECT {columns} FROM launch_geometry ORDER BY run_id").fetchall()
    assert found == [pytest.approx(expected) for _, _, expected in LAUNCHES]


def test_devices_that_differ_have_no_waves(hopper: Connection) -> None:
    insert(
        hopper, "devices", run_id="r", rank=0, device_index=1, name="D", multiprocessors=66, compute_capability="9.0"
    )
    assert geometry(hopper, blocks=32) == (None, None, None, None)
    assert cause(hopper, PRODUCT | launch(32))[0] is None
