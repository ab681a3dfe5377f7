"""Write a comparison as Markdown for a pull request: the verdict, what changed most, and the rest folded."""

import html
import re
from collections.abc import Iterable, Sequence

from ridgeline.reports.comparison.cells import cells
from ridgeline.reports.comparison.compare import UNITS, WHOLE, Comparison
from ridgeline.reports.comparison.differences import Difference, largest, replaced
from ridgeline.reports.comparison.verdict import verdict
from ridgeline.reports.names import clip

LIMIT = 65_000
"""Characters: GitHub takes 65,536."""
SHOWN, FOLDED = 5, 20
"""Differences before the fold and in it."""
MOST = 8
"""Warnings."""
NAME, SENTENCE = 90, 400
"""Characters of a name and of a sentence."""

Lines = list[str]


def markdown(comparison: Comparison) -> str:
    """Return the comparison as GitHub's Markdown, under 65,536 characters, whatever names the traces hold."""
    base, other = (code(clip(side.title, NAME)) for side in (comparison.base, comparison.other))
    first, *more = verdict(comparison, code) or ["no kind of step is in both sides, so there is no verdict"]
    first = first[0].upper() + first[1:]
    # Alerts are GitHub's boxes for warnings.
    says = [f"> - {escape(clip(text, SENTENCE))}" for text in comparison.warnings[:MOST]]
    left = comparison.warnings[MOST:]
    says += [f"> - and {len(left)} more warnings: `--format json`"] if left else []
    differences = largest(comparison, SHOWN + FOLDED)
    smaller = differences[SHOWN:]
    sections = [
        [f"**{first}**", "", *(f"- {sentence}" for sentence in more)],
        [f"{base} → {other}"],
        ["> [!WARNING]", *says] if says else [],
        _differences(differences[:SHOWN], comparison),
        _fold(f"{len(smaller)} smaller differences", _table(smaller)) if smaller else [],
        _fold("Whole steps", _whole(comparison)),
        _fold("Settings that differ", _settings(comparison)) if comparison.differing else [],
    ]
    # Names of nothing but markup grow when they are escaped: then the last folds are left out.
    texts = ["\n".join(lines).rstrip() for lines in sections if lines]
    while sum(len(text) + 2 for text in texts) > LIMIT:
        texts.pop()
    return "\n\n".join(texts) + "\n"


def code(text: str) -> str:
    r"""Return a text from a trace as a code span for a table's cell, in which no markup or mention has an effect.

    >>> code("a|b`c"), code("two\nlines"), code("")
    ("`a\\|b'c`", '`two lines`', '` `')
    """
    one_line = " ".join(text.replace("`", "'").split()) or " "
    # GitHub splits a row at a bar, also in code, unless an odd number of backslashes stands before it.
    return "`" + re.sub(r"(\\*)\|", r"\1\1\\|", one_line) + "`"


def escape(text: str) -> str:
    r"""Return a sentence that may hold names from traces, without effects of Markdown, HTML, mentions and references.

    >>> escape("<b> a_b|"), escape("@me") == "@\u200bme"
    ('&lt;b&gt; a&#95;b&#124;', True)
    """
    quoted = html.escape(" ".join(text.split()), quote=False)
    # Mentions and references are found in the rendered text: an entity does not prevent them, a space of no width does.
    marked = re.sub(r"[\\`*_{}\[\]|~!]", lambda mark: f"&#{ord(mark[0])};", quoted)
    return re.sub(r"(?<!&)[@#]", lambda mark: f"{mark[0]}\u200b", marked)


def _fold(title: str, lines: Iterable[str]) -> Lines:
    """Return lines in a fold; GitHub reads Markdown in HTML only between empty lines."""
    return [f"<details><summary>{title}</summary>", "", *lines, "", "</details>"]


def _grid(head: Sequence[str], align: str, rows: Iterable[Sequence[str]]) -> Lines:
    """Return a table; ``align`` has l or r for each column."""
    rule = [":--" if side == "l" else "--:" for side in align]
    return [f"| {' | '.join(row)} |" for row in (head, rule, *rows)]


def _differences(differences: Sequence[Difference], comparison: Comparison) -> Lines:
    if differences:
        head = f"Largest differences of device time per {UNITS[comparison.unit]}, beyond noise:"
        note = replaced(comparison)
        return [head, "", *_table(differences), *(["", f"{note[0].upper()}{note[1:]}."] if note else [])]
    return [] if comparison.is_itself else ["No operator or kernel changed beyond noise."]


def _table(differences: Sequence[Difference]) -> Lines:
    rows = []
    for one in differences:
        names = [code(clip(name, NAME)) for name in (str(one.row["stage"]), one.title)]
        rows.append([*names, *cells(one.row, "")[1:6], one.row["status"], escape(clip(one.cause, SENTENCE))])
    head = ["kind of step", "operator or kernel", "base", "other", "change", "%", "noise", "", "evidence"]
    return _grid(head, "llrrrrrll", rows)


def _whole(comparison: Comparison) -> Lines:
    rows = []
    for row in (row for level in WHOLE for row in comparison.level(level)):
        title = comparison.titles[row["level"]].partition(", ")[2]
        rows.append([code(clip(str(row["stage"]), NAME)), title, *cells(row, "")[1:6], row["status"]])
    return _grid(["kind of step", "time", "base", "other", "change", "%", "noise", ""], "llrrrrrl", rows)


def _settings(comparison: Comparison) -> Lines:
    rows = [[title, *(code(clip(value, NAME)) for value in values)] for title, *values in comparison.differing]
    return _grid(["setting", "base", "other"], "lll", rows)
