"""One HTML file a page: its template with style, scripts, Plotly and data inside, written whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from ridgeline.atomic_file import atomic_file
from ridgeline.reports.explorer.data import deflated
from ridgeline.reports.names import clip

_TEMPLATES = Path(__file__).with_name("templates")


def render(template: str, data: str, *, styles: Sequence[str], scripts: Sequence[str], **shown: Any) -> str:
    """A template of ``templates/`` with all it needs; ``data`` is what its scripts read, safe inside ``<script>``."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(
        clip=clip,
        css=Markup("".join(_text(f"{name}.css") for name in styles)),
        plotly=Markup(_plotly()),
        script=Markup("\n".join(_text(f"{name}.js") for name in scripts)),
        data=Markup(data),
        **shown,
    )


@cache
def _plotly() -> str:
    return deflated((files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8"))


def _text(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def write(path: Path, text: str) -> Path:
    """Write beside the path, then take its place: a reader finds the old page or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path
