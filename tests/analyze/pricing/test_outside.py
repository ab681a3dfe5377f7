"""Rules from outside the package: from a file and from an installed package, applied, stored, changed and left out."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ridgeline.analyze.ingest import analyze
from ridgeline.analyze.pricing import outside
from ridgeline.analyze.pricing.families import family
from ridgeline.analyze.pricing.outside import RulesError
from ridgeline.analyze.reprice import reprice
from tests.analyze import kineto
from tests.analyze.loading import load, query
from tests.analyze.pricing.test_price import BF16, priced

README = Path(outside.__file__).parents[1] / "README.md"
OWN = """
from ridgeline.rules import EngineRule, Rule, each
RULES = [
    EngineRule(("mine::scale_",), "=result input", each("result", 5)),
    Rule(("mul",), lambda bound, outputs: 7 * outputs[0].elements),
]
FAMILIES = {"mine::scale_": "pointwise", "my_kernel": "normalization"}
"""
Apply = Callable[[str], str]


@pytest.fixture
def apply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Apply]:
    """Name a file with this text by the environment variable; return the source that prices then have."""

    def applied(text: str) -> str:
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        path = tmp_path / digest / "own.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        monkeypatch.setenv("RIDGELINE_RULES", str(path))
        outside.outside.cache_clear()
        return f"own.py {digest}"

    yield applied
    outside.outside.cache_clear()


def trace(path: Path) -> Path:
    """A call of `mine::scale_` over 512 elements, with one kernel."""
    return kineto.write(
        path,
        [
            kineto.operator("mine::scale_", 10.0, 8.0, 1, [[8, 64], [8, 64]], [BF16, BF16], ["", ""]),
            kineto.launch(11.0, 1),
            kineto.kernel("k", 12.0, 3.0, 1, **{"External id": 1}),
        ],
    )


PRICES = "SELECT family, flops, read_bytes, write_bytes, confidence, outside_rules FROM signatures"
UNKNOWN = [("other", None, 2048.0, 0.0, "low", None)]


def test_a_file_prices_operators_of_its_own_and_of_pytorch(apply: Apply) -> None:
    apply(OWN)
    inputs = [([8, 64], BF16), ([8, 64], BF16)]
    assert priced("mine::scale_", inputs)[:3] == (5 * 512, 1024, 1024)
    assert priced("mine::scale_.default", inputs).confidence == "high"
    assert priced("aten::mul_.Tensor", inputs)[:3] == (7 * 512, 2048, 1024)
    assert priced("aten::add.Tensor", inputs).flops == 512
    assert family("mine::scale_", "k", "kernel") == "pointwise"
    assert family(None, "void my_kernel<float>(int)", "kernel") == "normalization"
    assert outside.source("aten::mul.Tensor") is not None
    assert outside.source("aten::add.Tensor") is None


def test_reprice_applies_a_file_and_leaves_it_again(
    tmp_path: Path, warehouse: Path, apply: Apply, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(warehouse, trace(tmp_path / "t.json"))
    assert query(warehouse, PRICES) == UNKNOWN
    source = apply(OWN)
    result = reprice(warehouse)
    assert (result.changed, result.warnings) == (1, [])
    assert query(warehouse, PRICES) == [("pointwise", 2560.0, 1024.0, 1024.0, "high", source)]
    assert query(warehouse, "SELECT family, flops, confidence FROM kernel_roofline") == [("pointwise", 2560.0, "high")]
    monkeypatch.delenv("RIDGELINE_RULES")
    result = reprice(warehouse)
    assert [line.partition(":")[0] for line in result.warnings] == [
        f"these had 1 signature priced by rules from outside that are not loaded ({source})"
    ]
    assert query(warehouse, PRICES) == UNKNOWN


def test_analyze_applies_a_changed_file_and_keeps_prices_without_one(
    tmp_path: Path, warehouse: Path, apply: Apply, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = trace(tmp_path / "t.json")
    assert load(warehouse, path) == [("t", "loaded")]
    first = apply(OWN)
    assert load(warehouse, path) == [("t", "replaced")]
    assert load(warehouse, path) == [("t", "unchanged")]
    second = apply(OWN.replace("5)", "6)"))
    assert first != second
    assert load(warehouse, path) == [("t", "replaced")]
    assert query(warehouse, PRICES) == [("pointwise", 3072.0, 1024.0, 1024.0, "high", second)]
    # another run of the same operator, where nobody names the file
    monkeypatch.delenv("RIDGELINE_RULES")
    other = trace(tmp_path / "other.json")
    other.write_text(other.read_text().replace('"dur": 3.0', '"dur": 4.0'))
    (result,) = analyze([other], warehouse)
    assert [line for line in result.warnings if "not loaded" in line] == [
        f"1 signature priced by rules from outside that are not loaded ({second}): --rules FILE loads them, "
        "`ridgeline reprice` without them returns to Ridgeline's own"
    ]
    assert query(warehouse, PRICES) == [("pointwise", 3072.0, 1024.0, 1024.0, "high", second)]


def test_other_runs_of_an_operator_are_named(tmp_path: Path, warehouse: Path, apply: Apply) -> None:
    paths = [trace(tmp_path / f"{name}.json") for name in ("a", "b")]
    paths[1].write_text(paths[1].read_text().replace('"dur": 3.0', '"dur": 4.0'))
    load(warehouse, *paths)
    apply(OWN)
    (result,) = analyze(paths[0], warehouse)
    assert result.warnings[-1] == (
        "rules from outside price operators of other stored runs too (b): `ridgeline reprice` with the same --rules"
        " applies them there"
    )
    reprice(warehouse)
    assert query(warehouse, "SELECT name, family, flops FROM kernel_roofline ORDER BY 1") == [
        ("a", "pointwise", 2560.0),
        ("b", "pointwise", 2560.0),
    ]
    (result,) = analyze(paths[1], warehouse)
    assert (result.outcome, result.warnings) == ("unchanged", ())


def test_a_package_declares_its_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, apply: Apply) -> None:
    (tmp_path / "rules_of_a_package.py").write_text(OWN.replace("5)", "9)"))
    installed = tmp_path / "mine-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[ridgeline.pricing_rules]\nmine = rules_of_a_package\n")
    inputs = [([8, 64], BF16), ([8, 64], BF16)]
    try:
        with monkeypatch.context() as patch:
            patch.syspath_prepend(str(tmp_path))
            outside.reload()
            assert priced("mine::scale_", inputs).flops == 9 * 512
            apply(OWN)  # a file comes before a package
            assert priced("mine::scale_", inputs).flops == 5 * 512
    finally:
        outside.outside.cache_clear()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("RULES = [1]", "TypeError: expected a Rule or an EngineRule in RULES, found 1"),
        ("FAMILIES = {'k': 'norm'}", "ValueError: found the family 'norm', expected one of attention, communication"),
        ("x = 1", "ValueError: expected a list RULES, a dictionary FAMILIES, or both"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("RULES = [", "SyntaxError: "),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
def test_a_broken_file_is_one_line(tmp_path: Path, warehouse: Path, apply: Apply, text: str, reason: str) -> None:
    apply(text)
    with pytest.raises(RulesError, match=rf"own\.py: cannot be used as pricing rules: {re.escape(reason)}") as error:
        analyze([trace(tmp_path / "t.json")], warehouse)
    assert "\n" not in str(error.value)
    assert not warehouse.exists()


def test_a_missing_file_is_one_line(warehouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(warehouse, trace(tmp_path / "t.json"))
    monkeypatch.setenv("RIDGELINE_RULES", "none.py")
    with pytest.raises(RulesError, match=r"none\.py: cannot be used as pricing rules: FileNotFoundError: "):
        reprice(warehouse)


@pytest.mark.parametrize(
    "flops",
    ["lambda call: 1 / 0", "lambda call: 'many'", "lambda call: float('nan')", "lambda call: -5", "lambda call: None"],
)
def test_a_rule_that_fails_costs_its_price_and_no_more(apply: Apply, flops: str) -> None:
    apply(OWN.replace('each("result", 5)', flops))
    found: Any = priced("mine::scale_", [([8, 64], BF16), ([8, 64], BF16)])
    assert (found.flops, found.confidence) == (None, "low") or "None" in flops


def test_the_example_of_the_documentation_works(apply: Apply) -> None:
    (example,) = re.findall(r"```python\n# my_rules\.py\n(.*?)```", README.read_text(), re.DOTALL)
    apply(example)
    found = priced("mylib::silu_and_mul", [([8, 64], BF16), ([8, 128], BF16)])
    assert (found.flops, found.read_bytes, found.write_bytes, found.confidence) == (2560, 2048, 1024, "high")
    assert family("mylib::silu_and_mul", "k", "kernel") == "pointwise"
    assert family(None, "my_triton_norm_kernel", "kernel") == "normalization"
