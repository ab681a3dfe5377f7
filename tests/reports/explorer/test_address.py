"""The view in the address: a link gives back exactly what its sender saw, and no more than the page knows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.reports.browser import Ask, needed

pytestmark = needed

VISITS = Path(__file__).parents[1].joinpath("address.js").read_text(encoding="utf-8")

RUN = "run=rich_eager"
LINKS = {
    "run": "run=rich_graph",
    "runs": f"{RUN}&run=rich_graph&execution=cuda_graph",
    "filters": f"{RUN}&phase=decode · decode&precision=bf16&share=60&roofs=all&theme=dark",
    "settings": f"{RUN}&level=l2&bytes=compulsory&flops=counter&point=operator&family=matmul&family=pointwise",
    "panels": f"{RUN}&search=rich add&sort=duration_ns&lost=module&step=dddd000000000005/1"
    "&find=rich&only=execution:eager&metric=kernels&order=-kernels",
}


@pytest.fixture(scope="module")
def answer(rich_report: Path, ask: Ask) -> dict[str, Any]:
    return ask(rich_report, VISITS, (1400, 4000))


def test_opens_and_answers_without_errors(answer: dict[str, Any]) -> None:
    assert answer["errors"] == []
    assert answer["images"] == 0


def test_a_link_gives_back_the_view(answer: dict[str, Any]) -> None:
    # The button Back leaves the page: no change of the view is a visit of its own.
    expected = {"written": True, "more": 0, "reset": [], "changed": True, "differs": [], "same": True, "note": ""}
    for name, seen in answer["views"].items():
        assert {key: seen[key] for key in expected} == expected, name


def test_links_name_what_differs_from_how_the_page_opens(answer: dict[str, Any]) -> None:
    assert {name: answer["views"][name]["link"] for name in LINKS} == {name: f"#{link}" for name, link in LINKS.items()}
    assert '"label":"gemm","run_id":"dddd000000000005"' in answer["views"]["picked"]["link"]


def test_the_readme_has_every_key() -> None:
    reports = Path(__file__).parents[3] / "reports"
    scripts = "\n".join(path.read_text("utf-8") for path in reports.joinpath("templates", "explorer").glob("*.js"))
    loops = re.findall(r"for \(const \[?name\b.* of (\[.*?\])\)(?: \{\n)? *remember", scripts)
    keys = re.findall(r'\bremember(?:Choice)?\("([a-z-]+)"', scripts) + re.findall(r'"([a-z-]+)"', " ".join(loops))
    table = reports.joinpath("README.md").read_text("utf-8").split("| key | value |")[1].split("\n\n")[0]
    documented = re.findall(r"`([a-z-]+)(?:=[a-z]+)?`", " ".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)))
    assert sorted(documented) == sorted(keys)


def test_an_address_chooses_only_what_the_page_has_and_says_so(answer: dict[str, Any]) -> None:
    assert answer["refused"] == (
        "Ignored in the address, since this page has no such value here: run=nothing, "
        "phase=<img src=x onerror=alert(1)>, level=l9, share=0x20, sort=constructor, lost=__proto__, order=toString, "
        "only=mode, theme=url(x), step=0, time=-1e300~1e300, evil, picked=[1, "
        'picked={"label":"x","kernel) OR (1=1":"a"}.'
    )
    assert "1=1" not in answer["refusedSql"]
    assert answer["refusedLink"] == "#run=rich_eager&family=matmul"


def test_a_short_id_and_the_name_of_a_phase_are_enough(answer: dict[str, Any]) -> None:
    assert answer["short"] == ["#run=rich_graph&phase=decode · decode", ""]


def test_a_condition_written_by_hand_is_applied(answer: dict[str, Any]) -> None:
    assert answer["spaced"] == ["products ×", ""]


def test_what_is_said_of_an_address_goes_with_its_view(answer: dict[str, Any]) -> None:
    assert answer["told"] == answer["refused"]
    assert answer["untold"] == ""


def test_a_link_keeps_the_theme_of_its_sender(answer: dict[str, Any]) -> None:
    """Even where the system has the same: the reader's may have another."""
    assert answer["system"] == [False, "", "#run=rich_eager&theme=light"]


def test_the_roofline_alone_has_the_same_state(answer: dict[str, Any]) -> None:
    alone, title, link = answer["alone"]
    assert alone
    assert title.startswith("rich_graph on Test Device")
    assert link == "#run=rich_graph&point=operator&roofline"
