"""The page on engines names what the code uses, and its examples are Python."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from ridgeline.capture.engines import engine, server, session, traces

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / session.PAGE).read_text()


def test_options_variables_and_folders_are_on_the_page() -> None:
    options = [word for word in engine.START_VLLM.split() if word.startswith("--")]
    assert len(options) == 3
    names = [*options, *engine.FOLDERS.values(), *traces.CAPTURE_FOLDERS, server.KEY]
    assert [name for name in names if name not in PAGE] == []


def test_the_examples_are_python() -> None:
    examples = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        assert "engines.profiled(" in ast.unparse(ast.parse(example))


def test_its_question_is_sql(tmp_path: Path) -> None:
    pytest.importorskip("duckdb", reason="the warehouse is not installed on a bare GPU machine")
    from ridgeline.warehouse import connect

    (question,) = re.findall(r'ridgeline sql "(.*?)"', PAGE)
    with connect(tmp_path / "w.duckdb") as connection:
        assert connection.execute(question).fetchall() == []
