"""The terms of the field and of the pages, each with a sentence for the "?" beside it: ``terms.toml``."""

import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from ridgeline.warehouse.schema.comments import comments


@dataclass(frozen=True)
class Term:
    """A term: its sentences, its values with a sentence each, and where to read on."""

    name: str
    says: str
    source: str
    of: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The name as part of an element's id."""
        return self.name.replace(" ", "-")


@cache
def terms() -> list[Term]:
    """Return every term of ``terms.toml``; the text of a ``column`` is the warehouse's own description of it."""
    table = tomllib.loads(Path(__file__).with_name("terms.toml").read_text(encoding="utf-8"))
    listed = []
    for name, entry in table.items():
        texts = [_description(entry["column"])] if "column" in entry else []
        texts += [entry["says"]] if "says" in entry else []
        listed.append(Term(name, " ".join(texts), entry["source"], entry.get("of", {})))
    return listed


def _description(column: str) -> str:
    table, name = column.split(".")
    described = comments()
    return described.get(table, {}).get(name) or described["columns"][name]
