"""The wheel: the one name `ridgeline`, with all code, data and types, beside a user's own packages of any name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.analyze import kineto

pytestmark = pytest.mark.process
ROOT = Path(__file__).parents[1]
STAGES = ("capture", "analyze", "warehouse", "reports")
STUDY = "ridgeline/reports/study/results/"


def without_python_settings() -> dict[str, str]:
    """The environment without what points Python or mypy to this checkout."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "MYPY"))}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built in a copy, since building writes into the sources' folder."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("ridgeline", *STAGES):
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, folder]
    done = subprocess.run(list(map(str, pip)), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the wheel; the libraries are those of this environment."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", "--quiet", wheel]
    # with this checkout on the path, pip would take its egg-info for the package and install nothing
    subprocess.run(list(map(str, pip)), check=True, env=without_python_settings())
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A user's folder, with packages named as the stages and a trace."""
    for stage in STAGES:
        (tmp_path / stage).mkdir()
        (tmp_path / stage / "__init__.py").write_text("MINE = True\n")
    kineto.write(tmp_path / "step.json", kineto.matmul_step())
    return tmp_path


def run(home: Path, *command: object) -> str:
    """The output of a command in the user's folder, where nothing points to this checkout."""
    done = subprocess.run(
        list(map(str, command)), cwd=home, env=without_python_settings(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_has_one_name_and_every_file_of_code_and_data_but_the_study(wheel: Path) -> None:
    packed = set(zipfile.ZipFile(wheel).namelist())
    assert {name.partition("/")[0] for name in packed} == {"ridgeline", "ridgeline-0.1.0.dist-info"}
    files = [path for stage in STAGES for path in (ROOT / stage).rglob("*") if "__pycache__" not in path.parts]
    files = [path for path in files if path.is_file() and path.suffix not in (".md", ".ipynb", ".png")]
    needed = {f"ridgeline/{path.relative_to(ROOT)}" for path in files}
    needed = {name for name in needed if not name.startswith(STUDY)}
    assert len(needed) > 250
    assert needed - packed == set()
    assert "ridgeline/py.typed" in packed
    assert [name for name in packed if name.startswith(STUDY)] == []


SCRIPT = """
import analyze, capture, reports, warehouse

assert analyze.MINE and capture.MINE and reports.MINE and warehouse.MINE

import ridgeline

(result,) = ridgeline.analyze(["step.json"], "w.duckdb")
connection = ridgeline.connect("w.duckdb", read_only=True)
print(result.outcome, *connection.execute("SELECT count(*) FROM kernel_roofline").fetchone())
print(ridgeline.roofline(connection, "step").data != ())
print(ridgeline.__file__)
"""


def test_a_users_packages_may_have_the_names_of_the_stages(installed: Path, home: Path) -> None:
    (home / "script.py").write_text(SCRIPT)
    outcome, drawn, file = run(home, installed, "script.py").splitlines()
    assert (outcome, drawn) == ("loaded 4", "True")
    assert Path(file).is_relative_to(installed.parents[1])
    command = installed.with_name("ridgeline")
    assert run(home, command, "sql", "SELECT name FROM runs", "-w", "w.duckdb", "--format", "csv") == "name\nstep\n"


TYPED = """
import ridgeline

reveal_type(ridgeline.connect)
reveal_type(ridgeline.analyze(["step.json"], "w.duckdb", jobs=2))
ridgeline.connect(1)
ridgeline.no_such_name
"""


def test_a_user_has_the_types_of_the_public_functions(installed: Path, home: Path) -> None:
    """The libraries' own types are not read: that alone would take mypy a quarter of a minute."""
    (home / "typed.py").write_text(TYPED)
    settings = "[mypy]\nfollow_imports = skip\n[mypy-ridgeline.*]\nfollow_imports = silent\n"
    (home / "mypy.ini").write_text(settings)
    check = [sys.executable, "-m", "mypy", "--strict", "--python-executable", installed, "typed.py"]
    done = subprocess.run(list(map(str, check)), cwd=home, capture_output=True, text=True, timeout=300)
    lines = [line.partition(": ")[2] for line in done.stdout.splitlines() if line.startswith("typed.py:")]
    assert lines == [
        'note: Revealed type is "def (path: str | pathlib.Path, *, read_only: bool =, external_access: bool =) -> Any"',
        'note: Revealed type is "list[ridgeline.analyze.ingest.Result]"',
        'error: Argument 1 to "connect" has incompatible type "int"; expected "str | Path"  [arg-type]',
        'error: Module has no attribute "no_such_name"  [attr-defined]',
    ], done.stdout + done.stderr
