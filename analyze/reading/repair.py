"""Repairs JSON that writers of traces get wrong: each replacement has the length of the text it replaces, so that
positions in the file stay right.

Only values are repaired. A key, a category or a phase that is not JSON is damage: a repair would turn the event into
another one.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter

BYTE_ORDER_MARK, BACKSLASH, CONTROL, NOT_UTF8, NO_NUMBER = KINDS = (
    "byte order mark",
    "unescaped backslash",
    "control character",
    "not UTF-8",
    "not a number",
)
"""The kinds of replacement that are counted."""
BOM = codecs.BOM_UTF8

# A string is matched whole, so that a match outside of one is a number that JSON does not have.
_STRING = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_TOKEN = re.compile(
    rb'"(?:ph|cat)"\s*:\s*' + _STRING + rb"|(" + _STRING + rb")(\s*:)?"
    rb"|((?:[-+]?(?:(?i:inf(?:inity)?|nan(?:\([a-z0-9_]*\))?)|\d+\.#[A-Z]+\d*)|N/A)(?=\s*[,}\]]))",
    re.DOTALL,
)
_ESCAPE = re.compile(rb'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}|(.?))', re.DOTALL)
_DRIVE = re.compile(rb'"[A-Za-z]:\\[^\\/"]')
"""The start of a path on Windows without escapes. In valid JSON a control character would follow the drive's colon."""
_LITERAL_BACKSLASH = re.compile(rb'\\(?!")')
_CONTROL = re.compile(rb"[\x00-\x1f]")


def _question_marks(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "?" * (error.end - error.start), error.end


codecs.register_error("ridgeline.question_marks", _question_marks)


def repaired(text: bytes) -> tuple[bytes, Counter[str]]:
    """Return JSON text with the values repaired that are not JSON, and the number of repaired values by kind.

    A backslash that escapes nothing becomes ``/``, a control character a space, a byte that is not UTF-8 ``?``. Values
    such as ``inf``, ``nan`` and ``N/A`` become strings: a value of a wrong type counts as not recorded. The text is
    returned as it is if no value needs repair; it may still not be JSON.
    """
    counts: Counter[str] = Counter()

    def repair(match: re.Match[bytes]) -> bytes:
        string, colon, number = match.groups()
        if number:
            counts[NO_NUMBER] += 1
            return b'"%s"' % number[1:-1]
        return match[0] if string is None or colon else _repaired_string(string, counts)

    repaired_text = _TOKEN.sub(repair, text)
    return (repaired_text if counts else text), counts


def _repaired_string(string: bytes, counts: Counter[str]) -> bytes:
    """Return a JSON string repaired, with the kinds of its repairs added to ``counts``."""
    if b"\\" in string and (
        _DRIVE.match(string) or any(match[1] is not None for match in _ESCAPE.finditer(string))
    ):  # one backslash that escapes nothing: this writer escapes none
        counts[BACKSLASH] += 1
        string = _LITERAL_BACKSLASH.sub(b"/", string)
    if _CONTROL.search(string):
        counts[CONTROL] += 1
        string = _CONTROL.sub(b" ", string)
    try:
        string.decode()
    except UnicodeDecodeError:
        counts[NOT_UTF8] += 1
        string = string.decode(errors="ridgeline.question_marks").encode()
    return string
