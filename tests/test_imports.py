"""Which module may import which, read from the sources: stages point one way, and no imports go in a circle."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from ridgeline.errors import EXTRAS

ROOT = Path(__file__).parents[1]
STAGES = ("capture", "analyze", "warehouse", "reports")
MOST_ENTRIES = 16
IMPORTED = {"nvidia-ml-py": "pynvml", "HolisticTraceAnalysis": "hta", "pyyaml": "yaml"}
"""What Python calls the packages that have another name on PyPI."""
BEYOND_BASE = {
    "torch": {"analyze.pricing.make_schemas", "analyze.pricing.meta", "analyze.pricing.pricer_process"},
    "hta": {"analyze.hta.process"},
    "pandas": {"analyze.hta.process"},
    "pyspark": {"analyze.spark_ingest"},
    "sqlglot": {"warehouse.spark"},
}
"""The modules that need an extra. They run in a child process, as Spark's task, or when a user imports them."""


@cache
def modules() -> dict[str, Path]:
    """Every module of the package by its name."""
    named = {}
    for folder in ("", *STAGES):
        package = ROOT / "ridgeline" / folder
        for path in package.glob("*.py") if not folder else package.rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            named[".".join(parts).removesuffix(".__init__")] = path
    return named


def statements(body: list[ast.stmt], *, lazy: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports of a module that run, with ``lazy`` those inside functions too; never those for type checkers."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from statements(node.body if "not " in ast.unparse(node.test) else node.orelse, lazy=lazy)
        elif lazy or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for field in ("body", "orelse", "finalbody"):
                yield from statements(getattr(node, field, []), lazy=lazy)
            for handler in getattr(node, "handlers", []):
                yield from statements(handler.body, lazy=lazy)


@cache
def imports(*, lazy: bool) -> dict[str, set[str]]:
    """The modules that each module imports, its own by their full names and libraries by their first."""
    graph = {}
    for module, path in modules().items():
        targets = set()
        for node in statements(ast.parse(path.read_text()).body, lazy=lazy):
            if isinstance(node, ast.Import):
                targets |= {alias.name for alias in node.names}
            else:
                assert node.level == 0, f"{module} has a relative import"
                # `from package import module` imports the module, `from module import name` only that module
                names = (f"{node.module}.{alias.name}" for alias in node.names)
                targets |= {name if name in modules() else str(node.module) for name in names}
        graph[module] = {name if name in modules() else name.partition(".")[0] for name in targets} - {module}
    return graph


def reached(module: str) -> set[str]:
    """Everything that is imported when ``module`` is, through other modules and their packages too."""
    seen: set[str] = set()
    pending = [module]
    while pending:
        name = pending.pop()
        if name not in seen:
            seen.add(name)
            pending += imports(lazy=False).get(name, ())
            if name in modules() and "." in name:
                pending.append(name.rpartition(".")[0])
    return seen


@cache
def libraries(extra: str | None = None) -> set[str]:
    """The names under which Python imports what pyproject.toml declares, for the base or for an extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = project["dependencies"] if extra is None else project["optional-dependencies"][extra]
    names = {re.split(r"[\[<>=; ]", line)[0] for line in lines}
    return {IMPORTED.get(name, name) for name in names}


def users(*stages: str) -> dict[str, set[str]]:
    """The modules of each library, below ``stages`` or at the top, wherever in the module it is imported."""
    named = {name for name in modules() if name.count(".") == 1 and name not in of(*STAGES)}.union(of(*stages))
    modules_of: dict[str, set[str]] = {}
    for name in named | {"ridgeline"}:
        for target in imports(lazy=True)[name] - modules().keys() - sys.stdlib_module_names:
            modules_of.setdefault(target, set()).add(name.removeprefix("ridgeline."))
    return modules_of


def of(*packages: str) -> list[str]:
    """The modules of packages, named below ``ridgeline``."""
    return [name for name in modules() for package in packages if f"{name}.".startswith(f"ridgeline.{package}.")]


@pytest.mark.parametrize(
    ("importing", "imported"),
    [
        ("capture", ("reports", "cli")),
        ("reports", ("capture", "cli")),
        ("warehouse", ("capture", "analyze", "reports", "cli")),
        ("analyze", ("reports", "cli")),
    ],
)
def test_stages_import_in_one_direction(importing: str, imported: tuple[str, ...]) -> None:
    forbidden = set(of(*imported))
    assert of(importing)
    assert forbidden
    crossing = {name: imports(lazy=True)[name] & forbidden for name in of(importing)}
    assert {name: targets for name, targets in crossing.items() if targets} == {}


def test_only_the_entry_point_imports_the_command_line() -> None:
    users = {name for name, targets in imports(lazy=True).items() if "ridgeline.cli" in targets}
    assert users == {"ridgeline.__main__"}


def test_plans_and_configurations_need_no_torch() -> None:
    names = of("capture.configuration")
    assert len(names) > 5
    assert [name for name in names if "torch" in reached(name)] == []


def test_a_recorded_program_imports_no_decoder() -> None:
    assert reached("ridgeline.capture.recording.instruments") <= reached("ridgeline.capture.launching.process")
    names = reached("ridgeline.capture.launching.process")
    assert [name for name in names if "transformers" in name or "decoder" in name] == []


def test_the_base_is_what_its_stages_import_and_no_more() -> None:
    imported = users("analyze", "warehouse", "reports")
    assert {name: imported.pop(name) for name in BEYOND_BASE} == BEYOND_BASE
    assert set(imported) == libraries()


def test_capturing_needs_the_base_and_one_extra() -> None:
    beyond = set(users("capture")) - libraries()
    assert beyond - {"cupti"} == libraries("capture"), "cupti comes with CUDA where there is a device"


def test_a_message_names_the_extra_that_has_the_library() -> None:
    named = {extra: {library for library, of in EXTRAS.items() if of == extra} for extra in ("capture", "hta", "spark")}
    assert all(named[extra] >= libraries(extra) for extra in named)
    assert set(EXTRAS) - set().union(*map(libraries, named)) == {"pandas"}, "which comes with HTA"


def test_no_module_imports_an_extra_with_another_module() -> None:
    outside = {f"ridgeline.{name}" for names in BEYOND_BASE.values() for name in names}
    entries = {*of("analyze", "warehouse", "reports"), "ridgeline.cli", "ridgeline.comparing"} - outside
    reaching = {name: reached(name) & BEYOND_BASE.keys() for name in entries}
    assert {name for name, targets in reaching.items() if targets} == set()


@pytest.mark.parametrize("lazy", [False, True], ids=["when imported", "when called too"])
def test_no_imports_go_in_a_circle(lazy: bool) -> None:
    try:
        TopologicalSorter(imports(lazy=lazy)).prepare()
    except CycleError as e:
        pytest.fail(f"a circle: {' -> '.join(e.args[1])}")


@pytest.mark.parametrize("stage", ["capture", "analyze", "reports"])
def test_a_stage_is_small_enough_to_overlook(stage: str) -> None:
    entries = {path.name for path in (ROOT / stage).iterdir()} - {"__init__.py", "__pycache__", "README.md"}
    assert len(entries) <= MOST_ENTRIES, sorted(entries)
