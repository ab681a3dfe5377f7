"""An operator that ends PyTorch, or keeps it, costs its own price: the run is loaded, and the others' are theirs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from ridgeline.analyze.ingest import analyze
from ridgeline.analyze.pricing import RULES_VERSION, pricer
from ridgeline.analyze.pricing.pricer import MOST_RESTARTS, UNASKED, Pricer, PricingError
from ridgeline.analyze.pricing.signature import parse
from ridgeline.analyze.reading import decoders
from ridgeline.analyze.reading.columns import Signature
from ridgeline.analyze.reprice import reprice
from ridgeline.warehouse.verify import verify
from tests.analyze import kineto
from tests.analyze.loading import dump, load, query
from tests.analyze.pricing import faulty

pytestmark = [pytest.mark.usefixtures("pricer_process"), pytest.mark.process]
ROOT = Path(__file__).parents[3]
HEALED = "from tests.analyze.pricing import faulty; faulty.FAULTS.clear(); faulty.main()"
ENDS = {
    "faulty::abort": "crashed with SIGABRT",
    "faulty::segfault": "crashed with SIGSEGV",
    "faulty::exit": "ended with exit code 3",
    "faulty::sleep": "said nothing for 1.5 seconds",
    "faulty::hold": "said nothing for 1.5 seconds",
    "faulty::fill": "needed more than 1.1 GB of memory",
    "faulty::print": None,
}


def signature(operator: str, *sizes: list[int]) -> Signature:
    dims, types, concrete = list(sizes), ["float"] * len(sizes), [""] * len(sizes)
    return (operator, json.dumps(dims).encode(), json.dumps(types).encode(), b"", json.dumps(concrete).encode())


MM = signature("aten::mm", [4, 8], [8, 16])
EXP = signature("aten::exp", [4])
TESTED = "aten::_test_warn_in_autograd"
"""An operator of PyTorch's own tests, for whose result PyTorch must be asked."""
UNKNOWN = signature(TESTED, [4])
CUT_SHORT = "SELECT DISTINCT source, message FROM warnings WHERE message LIKE '%: PyTorch %'"


def step_with(*operators: str) -> list[kineto.Event]:
    """The labelled step, and after it operators with a kernel each."""
    events = kineto.matmul_step()
    for i, name in enumerate(operators):
        at, number = 200.0 + 20 * i, 100 + i
        events += [
            kineto.operator(name, at, 10.0, number, [[4, 8]], ["float"]),
            kineto.launch(at + 1, number),
            kineto.kernel("k", at + 5, 2.0, number, **{"External id": number}),
        ]
    return events


@pytest.fixture
def _faulty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pricer, "PROGRAM", faulty.PROGRAM)
    monkeypatch.setattr(pricer, "LIMIT_S", 1.5)
    monkeypatch.setattr(Pricer, "_answered_here", lambda *_: None)


@pytest.mark.usefixtures("_faulty")
def test_each_end_costs_one_price_and_is_told() -> None:
    asked = [MM, *(signature(operator, [4, 8]) for operator in ENDS), EXP]
    with Pricer() as one:
        answers = one.price(asked)
        first, *between, last = answers
        assert one.price([MM, EXP]) == [first, last]
    assert [answer.cut_short for answer in between] == list(ENDS.values())
    assert [(answer.price.read_bytes, answer.price.method) for answer in between] == [
        (1.0, "tag") if how is None else (128.0, "inputs") for how in ENDS.values()
    ]
    assert (first.price.flops, first.price.confidence, first.cut_short) == (32, "high", None)
    assert (last.price.flops, last.price.confidence, last.cut_short) == (4, "high", None)


@pytest.mark.usefixtures("_faulty")
@pytest.mark.parametrize(
    "operator",
    [
        "faulty::abort",
        # test_each_end_costs_one_price_and_is_told covers how each of these ends
        pytest.param("faulty::sleep", marks=pytest.mark.exhaustive),
        pytest.param("faulty::fill", marks=pytest.mark.exhaustive),
    ],
)
def test_the_run_is_loaded_with_one_low_price_and_a_warning(tmp_path: Path, operator: str) -> None:
    with_it, without = tmp_path / "with.duckdb", tmp_path / "without.duckdb"
    path = kineto.write(tmp_path / "t.json", step_with("aten::exp", operator, "aten::neg"))
    (result,) = analyze([path], with_it)
    load(without, kineto.write(tmp_path / "u.json", step_with("aten::exp", "aten::neg")))
    assert (result.outcome, result.kernels) == ("loaded", 7)
    line = (
        f"{operator}: PyTorch {ENDS[operator]}: priced from recorded inputs, with low confidence: "
        "`ridgeline reprice` asks again"
    )
    assert result.warnings[0] == line
    assert query(with_it, CUT_SHORT) == [("pricing", line)]
    rows = "SELECT * FROM signatures WHERE rules_version {} 0 ORDER BY signature_id"
    assert query(with_it, rows.format(">")) == query(without, rows.format(">"))
    columns = "operator, flops, read_bytes, write_bytes, method, confidence, rules_version"
    assert query(with_it, f"SELECT {columns} FROM signatures WHERE confidence = 'low'") == [
        (operator, None, 128.0, 0.0, "inputs", "low", -RULES_VERSION)
    ]
    assert query(with_it, "SELECT account, sum(duration_ns) FROM ledger GROUP BY 1 ORDER BY 1") == [
        ("attribution", 14875),
        ("price", 14875),
    ]


@pytest.mark.usefixtures("_faulty")
def test_what_was_cut_short_is_not_asked_again_by_the_next_run_but_told_and_by_reprice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = tmp_path / "w.duckdb"
    load(warehouse, kineto.write(tmp_path / "a.json", step_with("faulty::abort")))
    with monkeypatch.context() as patch:
        patch.setattr(pricer, "Child", None)  # nothing is asked
        again = [*step_with("faulty::abort"), kineto.named("b")]
        (result,) = analyze([kineto.write(tmp_path / "b.json", again)], warehouse)
    assert result.warnings[0] == (
        "faulty::abort: PyTorch gave no answer before: priced from recorded inputs, with low confidence: "
        "`ridgeline reprice` asks again"
    )
    assert reprice(warehouse).changed == 0
    assert query(warehouse, CUT_SHORT) == [
        ("pricing", result.warnings[0].replace("gave no answer before", "crashed with SIGABRT"))
    ]
    monkeypatch.setattr(pricer, "PROGRAM", HEALED)
    assert reprice(warehouse).changed == 1
    assert query(warehouse, "SELECT DISTINCT rules_version, confidence FROM signatures") == [(RULES_VERSION, "high")]
    assert query(warehouse, "FROM warnings WHERE source = 'pricing'") == []
    assert [run.findings for run in verify(warehouse)[0]] == [[], []]


@pytest.mark.usefixtures("_faulty")
def test_repricing_keeps_what_was_heard_by_these_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warehouse = tmp_path / "w.duckdb"
    with monkeypatch.context() as patch:
        patch.setattr(pricer, "PROGRAM", HEALED)
        load(warehouse, kineto.write(tmp_path / "a.json", step_with("faulty::abort")))
    before = dump(warehouse)
    assert reprice(warehouse).changed == 0
    assert dump(warehouse) == before


@pytest.mark.usefixtures("_faulty")
def test_after_so_many_restarts_the_rest_is_not_asked_for() -> None:
    bad = [signature("faulty::abort", [4, i]) for i in range(1, MOST_RESTARTS + 2)]
    with Pricer() as one:
        answers = one.price([MM, *bad, EXP, signature("faulty::abort", [4])])
        assert [answer.cut_short for answer in answers] == [
            None,
            *["crashed with SIGABRT"] * (MOST_RESTARTS + 1),
            UNASKED,
            UNASKED,
        ]
        assert answers[-2].price[:6] == (None, 16.0, 0.0, "fp32", False, "inputs")
        assert one.price([EXP])[0].cut_short is None  # another run's


@pytest.mark.usefixtures("_faulty")
def test_the_warning_says_how_many_were_not_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pricer, "MOST_RESTARTS", 1)
    path = kineto.write(
        tmp_path / "t.json", step_with("faulty::abort", "faulty::exit", "faulty::segfault", "aten::exp", "aten::neg")
    )
    (result,) = analyze([path], tmp_path / "w.duckdb")
    lines = [line for line in result.warnings if ": PyTorch " in line]
    ends = [line.partition(": PyTorch ")[0] for line in lines]
    low = query(tmp_path / "w.duckdb", "SELECT count(*) FROM signatures WHERE rules_version < 0")
    assert len(ends) == 3
    assert ends[-1] == f"{low[0][0] - 2} more signatures"
    assert UNASKED in lines[-1]


def test_a_real_crash_costs_one_price() -> None:
    """PyTorch 2.13 divides by a stride of zero there; one that does not refuses."""
    text = [[0, 0, 0]] * 3 + [[]] * 2
    types, concrete = ["float"] * 3 + ["ScalarList"] * 2, [""] * 3 + ["[0, 0]"] * 2
    name = "aten::_nnpack_spatial_convolution"
    dims, kinds, values = (json.dumps(part).encode() for part in (text, types, concrete))
    bad: Signature = (name, dims, kinds, b"", values)
    with Pricer() as one:
        first, cut, last = one.price([MM, bad, EXP])
    assert cut.cut_short in (None, "crashed with SIGFPE")
    assert cut.price.confidence == "low"
    assert (first.price.confidence, last.price.confidence) == ("high", "high")


def test_memory_that_pytorch_does_not_get_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from ridgeline.analyze.pricing import meta
    from ridgeline.analyze.pricing.binding import bind
    from ridgeline.analyze.pricing.price import price_all

    bound = bind(parse(EXP))
    assert bound
    fills: list[Callable[[], object]] = [lambda: torch.empty(1 << 50), lambda: bytearray(1 << 60)]
    for fill in fills:
        with monkeypatch.context() as patch:
            patch.setattr(meta, "_real", lambda *_, fill=fill: fill())
            with pytest.raises(MemoryError):
                meta.outputs(bound)
    monkeypatch.setattr(meta, "outputs", lambda _: bytearray(1 << 60))
    with pytest.raises(MemoryError):
        price_all([UNKNOWN])


@pytest.mark.usefixtures("_faulty")
def test_a_child_that_ended_with_nothing_to_do_is_no_signature_s_fault() -> None:
    with Pricer() as one:
        before = one.price([MM])
        assert one._child
        one._child._process.kill()
        one._child._process.wait()
        assert one.price([MM]) == before


def test_prices_in_the_child_are_those_here() -> None:
    from ridgeline.analyze.pricing.price import price_all

    huge = signature("aten::relu", [1 << 40] * 20)
    odd = ("aten::mm", b"\xff", b"[", b"", b"{}")
    asked: list[Signature] = [MM, EXP, UNKNOWN, huge, odd, signature("a\udc80\n", [3])]
    with Pricer() as one:
        answers = one.price(asked)
    assert [answer.price for answer in answers] == [price.in_doubles() for price in price_all(asked)]
    assert answers[3].price.flops is None


def test_pytorch_that_does_not_come_up_fails_the_run_and_stores_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pricer, "PROGRAM", "import os; os.abort()")
    path = kineto.write(tmp_path / "t.json", step_with(TESTED))
    (result,) = analyze([path], tmp_path / "w.duckdb")
    assert result.outcome == "failed"
    assert str(result.error).startswith("PyTorch crashed with SIGABRT while it was imported")
    monkeypatch.setattr(pricer, "PROGRAM", "import time; time.sleep(600)")
    with Pricer(start_limit_s=0.5) as one, pytest.raises(PricingError, match=r"said nothing for 0\.5 seconds"):
        one.price([UNKNOWN])
    assert not (tmp_path / "w.duckdb").exists()


def test_signatures_with_a_rule_start_no_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pricer, "Child", None)
    load(tmp_path / "w.duckdb", kineto.write(tmp_path / "a.json", step_with("aten::exp", "mylib::custom")))
    low = query(tmp_path / "w.duckdb", "SELECT operator FROM signatures WHERE confidence = 'low' OR rules_version < 0")
    assert low == [("mylib::custom",)]


def test_pytorch_is_not_asked_about_sparse_tensors_and_composite_operators(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pricer, "Child", None)
    operators = ("aten::_coalesce", "aten::_cudnn_rnn", "aten::gradient", "aten::int_repr")
    load(tmp_path / "w.duckdb", kineto.write(tmp_path / "a.json", step_with(*operators)))
    rows = "SELECT operator, read_bytes, composite, rules_version FROM signatures WHERE confidence = 'low' ORDER BY ALL"
    expected = [(operator, 128.0, operator == "aten::gradient", RULES_VERSION) for operator in operators]
    assert query(tmp_path / "w.duckdb", rows) == expected


@pytest.mark.usefixtures("_faulty")
def test_known_signatures_start_no_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(tmp_path / "w.duckdb", kineto.write(tmp_path / "a.json", kineto.matmul_step()))
    monkeypatch.setattr(pricer, "Child", None)
    assert load(tmp_path / "w.duckdb", kineto.write(tmp_path / "b.json", kineto.matmul_step() * 2)) == [("b", "loaded")]


def test_the_child_starts_for_an_operator_without_a_rule_as_soon_as_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the trace is assembled; and not for a trace of operators that need no PyTorch."""
    started: list[str] = []
    monkeypatch.setattr(Pricer, "start", lambda _: started.append("child"))
    monkeypatch.setattr(decoders, "CHILD_BYTES", 0)

    def assembled(*_: object) -> None:
        started.append("assembled")
        raise SystemExit

    monkeypatch.setattr("ridgeline.analyze.run.assemble", assembled)
    for name, operators in {"known": [], "unknown": [TESTED]}.items():
        path = kineto.write(tmp_path / f"{name}.json", step_with(*operators))
        with pytest.raises(SystemExit):
            analyze([path], tmp_path / f"{name}.duckdb", jobs=2)
    assert started == ["assembled", "child", "assembled"]


PARENT = """
import sys
from ridgeline.analyze.pricing import pricer
pricer.PROGRAM = {program!r}
pricer.LIMIT_S = 600
pricer.Pricer._answered_here = lambda *_: None
sys.argv = ["ridgeline", "analyze", "t.json"]
sys.path.insert(0, {root!r})
from ridgeline import cli
assert "torch" not in sys.modules
cli.main()
"""


@pytest.mark.parametrize(
    ("operator", "number"),
    [
        ("faulty::hold", signal.SIGTERM),
        ("faulty::sleep", signal.SIGKILL),
        ("faulty::hold", signal.SIGKILL),
        # either signal unwinds the parent in the same way
        pytest.param("faulty::sleep", signal.SIGINT, marks=pytest.mark.exhaustive),
        pytest.param("faulty::hold", signal.SIGINT, marks=pytest.mark.exhaustive),
        pytest.param("faulty::sleep", signal.SIGTERM, marks=pytest.mark.exhaustive),
    ],
)
def test_no_child_outlives_its_parent(tmp_path: Path, operator: str, number: signal.Signals) -> None:
    """However that ends; one whose operator keeps the interpreter, after a last time if the parent cannot end it."""
    kineto.write(tmp_path / "t.json", step_with(operator))
    asked = tmp_path / "asked"
    longest_s = 2 if (operator, number) == ("faulty::hold", signal.SIGKILL) else 600
    program = f"from ridgeline.analyze.pricing import pricer_process; pricer_process.LONGEST_S = {longest_s}; "
    program += "from pathlib import Path; from tests.analyze.pricing import faulty; "
    program += f"faulty.mark = Path({str(asked)!r}); faulty.main()"
    script = PARENT.format(program=program, root=str(ROOT))
    parent = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    try:
        wait_for(asked.exists)
        (os.killpg if number is signal.SIGINT else os.kill)(parent.pid, number)
        _, said = parent.communicate(timeout=30)
        wait_for(lambda: not of_session(parent.pid), 10)
    finally:
        for pid in of_session(parent.pid):
            os.kill(pid, signal.SIGKILL)
    assert parent.returncode == (-number if number is signal.SIGKILL else 128 + number)
    assert number is signal.SIGKILL or said.startswith("ridgeline: interrupted: ")


def wait_for(sign: Callable[[], object], limit_s: float = 60) -> None:
    deadline = time.monotonic() + limit_s
    while not sign():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def of_session(leader: int) -> list[int]:
    """Its processes that are no zombies."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, _, session, *_ = stat.read_text().rpartition(")")[2].split()
            found += [int(stat.parent.name)] if int(session) == leader and state != "Z" else []
    return found
