"""Counters on a device: what kernels must move and do by arithmetic, they are counted to have moved and done."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from ridgeline import IMPORT_ROOT
from ridgeline.capture.counters import by_cupti as counters
from ridgeline.capture.counters.by_cupti import Report, Row
from ridgeline.capture.counters.counting import HUNG, Counting
from ridgeline.capture.counters.cupti import join
from ridgeline.capture.counters.cupti.kineto import Kineto
from ridgeline.capture.counters.ncu_csv import own_name
from ridgeline.capture.steps import Step

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

BYTES = 256 * 2**20
SIDE = 4096
SMALL = 200
READ, WRITE, L2 = counters.METRIC_SETS["memory"]
OPERATIONS = "sm__ops_path_tensor_src_bf16_dst_fp32.sum"


class Work:
    """Steps on a device: large elementwise copies, a memcpy, which is no kernel, and a product; then small kernels."""

    def __init__(self, device: torch.device) -> None:
        self.source = torch.randn(BYTES // 4, device=device)
        self.target = torch.empty_like(self.source)
        self.a, self.b = (torch.randn(SIDE, SIDE, device=device, dtype=torch.bfloat16) for _ in range(2))
        self.product = torch.empty_like(self.a)
        self.small = torch.ones(1024, device=device)
        self.prepared = 0
        for step in STEPS:
            self.run(step)

    def prepare(self) -> None:
        self.prepared += 1
        self.small.fill_(1)

    def run(self, step: Step) -> None:
        if step.kind == "prefill":
            for _ in range(2):  # The first leaves as much unwritten in the L2 as the second, whose bytes are then even.
                torch.mul(self.source, 1.0, out=self.target)
            self.target.copy_(self.source)  # A memcpy: no kernel, no range.
            torch.mm(self.a, self.b, out=self.product)
        else:
            for _ in range(SMALL):
                self.small.add_(1)


STEPS = [
    Step(phase="prefill", index=0, kind="prefill", query=1, context=1, tokens=1),
    Step(phase="decode", index=1, kind="decode", query=1, context=2, tokens=1),
    Step(phase="decode", index=2, kind="decode", query=1, context=3, tokens=1),
]


@pytest.fixture(scope="module")
def device() -> torch.device:
    device = torch.device("cuda", torch.cuda.current_device())
    capability = counters.probe(device)
    if not capability.works:
        pytest.skip(capability.reason)
    return device


@pytest.fixture(scope="module")
def work(device: torch.device) -> Work:
    return Work(device)


@pytest.fixture
def record(work: Work, device: torch.device, tmp_path: Path) -> Callable[..., tuple[Report, list[Row]]]:
    def call(steps: Sequence[Step] = STEPS, **keys: object) -> tuple[Report, list[Row]]:
        path = tmp_path / "trace.counters.csv.gz"
        report = counters.record(steps, work.run, device, path, prepare=work.prepare, **keys)  # type: ignore[arg-type]
        return report, counters.read(path) if path.exists() else []

    return call


def of(rows: list[Row], metric: str, step: int) -> list[float]:
    return [row.value for row in rows if row.metric == metric and row.step == step]


def test_the_probe_names_the_chip(device: torch.device) -> None:
    capability = counters.probe(device)
    assert capability.works
    assert capability.chip is not None
    assert capability.chip in capability.reason


def test_bytes_of_a_copy_and_ranges_of_every_step(record: Callable[..., tuple[Report, list[Row]]], work: Work) -> None:
    before = work.prepared
    report, rows = record()
    assert report.problems == []
    (window,) = report.windows
    assert (window.name, window.passes) == ("memory", 1)
    assert window.ranges * 3 == len(rows)
    assert work.prepared - before == 2  # To count the kernels, and for the window.
    read, write = of(rows, READ, 0)[1], of(rows, WRITE, 0)[1]
    assert read + write == pytest.approx(2 * BYTES, rel=0.02)
    for step in (1, 2):
        assert len(of(rows, READ, step)) == SMALL
    assert work.small[0].item() == 1 + 2 * SMALL  # Nothing is replayed.


def test_operations_of_a_product_are_exact(record: Callable[..., tuple[Report, list[Row]]]) -> None:
    report, rows = record(STEPS[:1], windows=("tensor",))
    assert report.problems == []
    assert max(of(rows, OPERATIONS, 0)) == 2 * SIDE**3
    assert sum(of(rows, OPERATIONS, 0)) == 2 * SIDE**3


def test_additions_are_exact(record: Callable[..., tuple[Report, list[Row]]]) -> None:
    report, rows = record(STEPS[:2], windows=("sass",))
    assert report.problems == []
    products, additions = (
        [sum(row.value for row in rows if (row.step, row.launch_index) == (step, index)) for index in range(2)]
        for step in (0, 1)
    )
    print(products, additions)
    assert products == [BYTES // 4] * 2
    assert additions == [1024] * 2


def test_names_are_those_of_kineto(
    record: Callable[..., tuple[Report, list[Row]]], work: Work, device: torch.device
) -> None:
    _, rows = record(windows=("memory", "tensor"))
    names = {row.launch_index: row.kernel for row in rows if row.step == 0}
    kineto = Kineto()
    kineto.start()
    work.run(STEPS[0])
    torch.cuda.synchronize(device)
    assert [kernel.name for kernel in join.kernels(kineto.stop(), [])] == [names[index] for index in sorted(names)]
    assert "elementwise" in own_name(names[0])
    assert not any("WaitNs" in name for name in names.values())
    assert {row.window for row in rows} == {"memory", "tensor"}


def test_kernel_times_are_those_without_counters(record: Callable[..., tuple[Report, list[Row]]]) -> None:
    report, _ = record()
    assert report.windows[0].kernel_ns[0] == pytest.approx(report.uncounted_kernel_ns[0], rel=0.2)


@pytest.mark.parametrize("windows", [("memory",), ("tensor",), ("tensor_fp16",), ("tensor_int8",), ("sass",)])
def test_every_set_counts_and_says_what_a_range_costs(
    record: Callable[..., tuple[Report, list[Row]]], work: Work, windows: tuple[str, ...]
) -> None:
    report, _ = record(STEPS[1:], windows=windows, kernels=SMALL)
    assert report.problems == []
    (window,) = report.windows
    assert window.ranges == 2 * SMALL
    seconds = window.seconds
    each = {part: getattr(seconds, part) / window.ranges for part in ("run", "stop", "decode", "read")}
    print(
        f"\n{window.name}: {window.ranges} ranges, enable {seconds.enable:.3f} s, start {seconds.start:.3f} s; "
        + ", ".join(f"{part} {value * 1e6:.1f} µs" for part, value in each.items())
        + f" a range; {sum(each.values()) * 1e6:.1f} µs together"
    )


def test_a_step_of_more_kernels_than_ranges_a_pass(work: Work, device: torch.device, tmp_path: Path) -> None:
    def run(step: Step) -> None:
        for _ in range(5):
            work.run(STEPS[1])

    report = counters.record(STEPS[1:], run, device, tmp_path / "x.csv.gz", prepare=work.prepare)
    assert report.problems == []
    assert report.windows[0].ranges == 2 * 5 * SMALL


def test_an_image_too_small_is_noticed(work: Work, device: torch.device, tmp_path: Path) -> None:
    def run(step: Step) -> None:
        for _ in range(10):
            work.run(STEPS[1])

    path = tmp_path / "x.csv.gz"
    report = counters.record(STEPS[1:2], run, device, path, prepare=work.prepare, kernels=1)
    assert report.windows == []
    assert len(report.problems) == 1
    assert not path.exists()


@torch.inference_mode(False)
def test_kernels_of_racing_threads_have_their_own_counters(device: torch.device) -> None:
    """Each thread launches one kernel, of its own name and size, on a stream of its own."""
    functions = {"sin": torch.sin, "exp": torch.exp, "tanh": torch.tanh, "sqrt": torch.sqrt}
    sizes = {name: elements * 2**22 for name, elements in zip(functions, (1, 2, 4, 8), strict=True)}
    tensors = {name: torch.rand(size, device=device) for name, size in sizes.items()}
    streams = {name: torch.cuda.Stream(device) for name in sizes}  # type: ignore[no-untyped-call]
    model = torch.nn.Sequential(*(torch.nn.Linear(512, 512) for _ in range(4))).to(device)
    rows = torch.rand(64, 512, device=device)

    def launch(name: str) -> None:
        with torch.cuda.stream(streams[name]):
            for _ in range(50):
                functions[name](tensors[name], out=tensors[name])

    def step() -> None:
        threads = [threading.Thread(target=launch, args=(name,)) for name in sizes]
        for thread in threads:
            thread.start()
        model(rows).square().mean().backward()
        for thread in threads:
            thread.join()

    step()
    with Counting(device, kernels=400) as count, count.window(), count.step(STEPS[0]):
        step()
    assert count.report.problems == []
    for name, size in sizes.items():
        own = [row.value for row in count.rows if row.metric == L2 and f"{name}_kernel" in row.kernel]
        assert len(own) == 50
        # Each byte read and written crosses the L2 once, or once more where it is in the other half of the cache.
        assert all(0.9 < value / (2 * 4 * size) < 1.7 for value in own)


@torch.inference_mode(False)
def test_a_training_step_takes_as_long_with_counters(device: torch.device) -> None:
    layer = torch.nn.TransformerEncoderLayer(1024, 16, 4096, batch_first=True, dropout=0.0).to(device).bfloat16()
    optimizer = torch.optim.AdamW(layer.parameters(), fused=True)
    rows = torch.randn(16, 1024, 1024, device=device, dtype=torch.bfloat16)

    def train() -> None:
        optimizer.zero_grad()
        layer(rows).float().square().mean().backward()
        optimizer.step()

    for _ in range(3):
        train()
    torch.cuda.synchronize(device)
    gc.collect()  # the tensors of earlier tests
    before = torch.cuda.memory_stats(device)
    with Counting(device, kernels=None) as count:
        while count.sets:
            with count.window():
                for step in STEPS[1:]:
                    with count.step(step):
                        train()
    assert count.report.problems == []
    (window,) = count.report.windows
    assert sum(window.kernel_ns) == pytest.approx(sum(count.report.uncounted_kernel_ns), rel=0.02)
    first, second = (
        sum(row.value for row in count.rows if row.step == step.index and row.metric in (READ, WRITE))
        for step in STEPS[1:]
    )
    assert first == pytest.approx(second, rel=0.02)
    after = torch.cuda.memory_stats(device)
    for name in ("allocated_bytes.all.current", "reserved_bytes.all.current", "num_alloc_retries"):
        assert after[name] == before[name]


def test_replays_are_not_counted_and_run_on(device: torch.device) -> None:
    values = torch.zeros(1 << 20, device=device)
    graph = torch.cuda.CUDAGraph()
    values.add_(1)
    torch.cuda.synchronize(device)
    with torch.cuda.graph(graph):
        values.add_(1)
    values.zero_()
    with Counting(device, kernels=8) as count, count.window():
        with count.step(STEPS[1]):
            graph.replay()
        with count.step(STEPS[2]):
            graph.replay()
    assert count.rows == []
    (problem,) = count.report.problems
    assert problem.startswith("counting stopped: cuptiRangeProfilerStop: ")
    assert values[0].item() == 2


SPIN = """
import sys
import torch, triton
import triton.language as tl
from ridgeline.capture.counters.counting import Counting
from ridgeline.capture.counters.cupti.kineto import Kineto
from ridgeline.capture.counters.traced import look
from ridgeline.capture.steps import Step

@triton.jit
def spin(flag):
    value = tl.atomic_add(flag, 0)
    while value == 0:
        value = tl.atomic_add(flag, 0)

@triton.jit
def release(flag):
    tl.atomic_add(flag, 1)

device = torch.device("cuda", 0)
flag = torch.ones(1, device=device, dtype=torch.int32)
one, other = torch.cuda.Stream(), torch.cuda.Stream()

def work():
    flag.zero_()
    torch.cuda.synchronize()
    with torch.cuda.stream(one):
        spin[(1,)](flag)
    with torch.cuda.stream(other):
        release[(1,)](flag)

spin[(1,)](flag), release[(1,)](flag)
work()
torch.cuda.synchronize()
kineto = Kineto()
kineto.start()
with kineto.label("step"):
    work()
    torch.cuda.synchronize()
print(look(kineto.stop(), ["step"], 0).risk, flush=True)
with Counting(device, kernels=8, limit_s=2) as count, count.window():
    with count.step(Step(phase="decode", index=0, kind="decode", query=1, context=1, tokens=1)):
        work()
print("not reached")
"""


def test_kernels_that_wait_for_each_other_are_foreseen_and_end_at_the_limit(tmp_path: Path) -> None:
    pytest.importorskip("triton")
    script = tmp_path / "spin.py"
    script.write_text(SPIN)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(IMPORT_ROOT), os.environ.get("PYTHONPATH", "")])}
    ran = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == HUNG
    assert ran.stdout.startswith("'spin' on stream ")
    assert "'release', which was launched after it" in ran.stdout
    assert "not reached" not in ran.stdout
    assert "step 0 (decode) kept the device busy for 2 s while its kernels were counted" in ran.stderr
