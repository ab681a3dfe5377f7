"""Write a page as one HTML file: a template with its style, scripts, Plotly and data inside."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ridgeline.atomic_file import atomic_file
from ridgeline.reports.embedding import deflated
from ridgeline.reports.figures import palette
from ridgeline.reports.names import clip

if TYPE_CHECKING:
    from concurrent.futures import Future

_TEMPLATES = Path(__file__).with_name("templates")


def render(template: str, data: str, *, styles: Sequence[str], scripts: Sequence[str], **context: Any) -> str:
    """Return the page of ``templates/<template>``.

    ``styles`` and ``scripts`` name files of ``templates/`` without their endings; ``data`` is what the scripts read,
    encoded by :mod:`ridgeline.reports.embedding`; ``context`` holds the template's other variables.
    """
    # Imported late, since figures for notebooks need neither Jinja nor the warehouse.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    from ridgeline.reports.terms import terms

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Markup is not escaped: our own files, and data that is already safe.
    return environment.get_template(template).render(
        clip=clip,
        css=Markup(palette.variables() + "".join(_source(f"{name}.css") for name in styles)),
        dark=palette.DARK,
        terms=terms(),
        plotly=Markup(plotly().result()),
        script=Markup("\n".join(_source(f"{name}.js") for name in scripts)),
        data=Markup(data),
        **context,
    )


@cache
def plotly() -> Future[str]:
    """Return Plotly's script, deflated, as a future: called before the queries, its 0.15 s of work runs beside them."""
    from concurrent.futures import ThreadPoolExecutor

    def compress() -> str:
        return deflated(eager((files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")))

    pool = ThreadPoolExecutor(1)
    script = pool.submit(compress)
    pool.shutdown(wait=False)  # which it does once the script is there
    return script


def eager(script: str) -> str:
    """Return Plotly's script with its one large function in parentheses, where it is a bare argument.

    Browsers parse a bare function twice: once to skip it, and once when it is called. In parentheses, V8 compiles it at
    once, a third of the time that the script takes.
    """
    head, bare, body = script.partition(", () => {\n")
    body = body.rstrip()
    if not bare or len(head) > 1000 or not body.endswith("\n}));"):
        return script
    return f"{head}, (function () {{\n{body.removesuffix('}));')}}})));"


def _source(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def write(path: Path, text: str) -> Path:
    """Write a page atomically: a reader sees the old file or the new one. Return ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path
