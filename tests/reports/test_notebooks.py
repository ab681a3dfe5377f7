"""The shipped notebooks: valid, free of outputs, and every cell runs."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

FOLDER = Path(__file__).parents[2] / "reports" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def read(notebook: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(notebook.read_text(encoding="utf-8"))
    return content


def cells(notebook: Path, kind: str) -> list[str]:
    return ["".join(cell["source"]) for cell in read(notebook)["cells"] if cell["cell_type"] == kind]


def shown(source: str, names: dict[str, Any]) -> Any:
    """Run a cell as Jupyter does, and return the figure of its last expression, or what is printed of another value."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    if not isinstance(last, ast.Expr):
        return None
    value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    # A query runs when it is printed, as in Jupyter before the next cell.
    return value if isinstance(value, go.Figure) else str(value)


def test_two_are_shipped() -> None:
    assert [notebook.name for notebook in NOTEBOOKS] == ["ar-against-diffusion.ipynb", "first-look.ipynb"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_nbformat_4_5_without_outputs(notebook: Path) -> None:
    """Outputs would hold paths of a machine, and grow the repository with every run."""
    content = read(notebook)
    assert set(content) == {"cells", "metadata", "nbformat", "nbformat_minor"}
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    keys = {"cell_type", "id", "metadata", "source"}
    for cell in content["cells"]:
        assert cell["cell_type"] in ("markdown", "code")
        assert set(cell) == (keys | {"execution_count", "outputs"} if cell["cell_type"] == "code" else keys)
        assert (cell.get("outputs", []), cell.get("execution_count")) == ([], None)
    ids = [cell["id"] for cell in content["cells"]]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-zA-Z0-9-_]{1,64}", name) for name in ids)
    assert notebook.stat().st_size < 100_000


@pytest.mark.parametrize(
    ("name", "titles"),
    [
        (
            "first-look",
            [
                "Device time by family: tiny-llama_ar_p256_g64_b1_bf16_eager on NVIDIA H200",
                "Roofline: tiny-llama_ar_p256_g64_b1_bf16_eager on NVIDIA H200",
                "Device time beyond the roof: tiny-llama_ar_p256_g64_b1_bf16_eager on NVIDIA H200",
                "Ledger: tiny-llama_ar_p256_g64_b1_bf16_eager on NVIDIA H200",
            ],
        ),
        (
            "ar-against-diffusion",
            [
                "Parts of the latency: tiny-llada",
                "Device time by family: 3 runs on NVIDIA H200",
                "Roofline: tiny-llama_ar_p256_g64_b1_bf16_eager, "
                "tiny-llada_dlm_full_p256_g64_b1_block16_k64_bf16_eager on NVIDIA H200",
                "Ideal and measured speed-up: NVIDIA H200 · tiny-llada · batch 1 · prompt 256 · 64 generated",
            ],
        ),
    ],
)
def test_every_cell_runs(name: str, titles: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    names: dict[str, Any] = {"__name__": "__main__"}
    values = [shown(source, names) for source in cells(FOLDER / f"{name}.ipynb", "code")]
    assert all(values), "a cell shows nothing"
    figures = [value for value in values if isinstance(value, go.Figure)]
    assert [figure.layout.title.text for figure in figures] == [f"<b>{title}</b>" for title in titles]
    names["connection"].close()
