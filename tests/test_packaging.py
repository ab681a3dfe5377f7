"""What a wheel of this folder holds: the stages with their data, and none of the study's results."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from setuptools import find_namespace_packages

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def packed() -> set[Path]:
    """Folders whose files go into a wheel."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    find = project["tool"]["setuptools"]["packages"]["find"]
    return {Path(*package.split(".")) for package in find_namespace_packages(str(ROOT), **find)}


def test_every_folder_of_code_and_data_is_packed(packed: set[Path]) -> None:
    needed = {
        "ridgeline" / path.parent.relative_to(ROOT)
        for stage in ("capture", "analyze", "warehouse", "reports")
        for path in (ROOT / stage).rglob("*")
        if path.suffix in (".py", ".sql", ".toml", ".j2", ".js", ".css", ".json")
    }
    assert len(needed) > 10
    assert needed <= packed
    assert {folder.parts[0] for folder in packed} == {"ridgeline"}


def test_the_study_is_not_packed(packed: set[Path]) -> None:
    study = Path("ridgeline/reports/study/results")
    assert (ROOT / study).is_dir()
    assert [folder for folder in packed if folder.is_relative_to(study)] == []
