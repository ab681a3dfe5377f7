"""Repairs JSON that writers of traces get wrong: each replacement has the length of the text it replaces, so that
positions in the file stay right.

Only values are repaired. A key, a category or a phase that is not JSON is damage: a repair would turn the event into
another one.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from itertools import accumulate

BYTE_ORDER_MARK, BACKSLASH, CONTROL, NOT_UTF8, NO_NUMBER = KINDS = (
    "byte order mark",
    "unescaped backslash",
    "control character",
    "not UTF-8",
    "not a number",
)
"""The kinds of replacement that are counted."""
BOM = codecs.BOM_UTF8

_NO_JSON = re.compile(rb"[-+]?\b(?:[Ii]nf(?:inity)?|INF|[Nn]a[Nn](?:\([a-z]*\))?|NAN|N/A)(?=\s*[,}\]])")
_ODD = re.compile(rb"[\\\x00-\x1f\x80-\xff]").search
_ESCAPE = re.compile(rb'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}|(.?))', re.DOTALL)
_DRIVE = re.compile(rb'[A-Za-z]:\\[^\\/"]')
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
    # without escaped quotes every second part between quotes is a string; the last may be cut off
    parts = text.replace(rb"\\", b"__").replace(rb"\"", b"__").split(b'"')
    starts = [0, *accumulate(len(part) + 1 for part in parts)]
    output = bytearray(text)
    for number in [at for at in range(1, len(parts) - 1, 2) if _ODD(parts[at])]:
        is_key = parts[number + 1].lstrip().startswith(b":")
        if not is_key and parts[number - 2] not in (b"ph", b"cat"):
            place = slice(starts[number], starts[number + 1] - 1)
            output[place] = _repaired_string(text[place], counts)
    if _NO_JSON.search(b'"'.join(parts[::2])):
        for number in [at for at in range(0, len(parts), 2) if _NO_JSON.search(parts[at])]:
            place = slice(starts[number], starts[number + 1] - 1)
            output[place], repairs = _NO_JSON.subn(lambda match: b'"%s"' % match[0][1:-1], text[place])
            counts[NO_NUMBER] += repairs
    return (bytes(output) if counts else text), counts


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
