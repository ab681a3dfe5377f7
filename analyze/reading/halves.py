"""Spans written as two events, a begin (``ph: B``) and an end (``ph: E``), paired to complete events."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

import msgspec

from ridgeline.analyze.reading.arrays import Half
from ridgeline.analyze.reading.columns import Columns, append
from ridgeline.analyze.reading.events import NO_TIME_NS, ExactEvent
from ridgeline.analyze.reading.reader import Decoded


class Paired(NamedTuple):
    """The columns of the spans that ``halves`` make, and the number of halves without the other one."""

    columns: Columns
    unpaired: int


def pair(halves: Iterable[Half]) -> Paired:
    """Return the spans of all halves of a trace.

    Spans of a thread nest: an end closes the last begin that is open, or the last one of its name if it has a name. The
    arguments of both halves count.
    """
    opened: dict[tuple[object, object], list[Half]] = defaultdict(list)
    names: Counter[tuple[object, object, object]] = Counter()
    events: list[ExactEvent] = []
    unpaired = 0
    # in time; halves of one moment in the order of the file
    for half in sorted(halves, key=lambda half: half[:3]):
        thread = (half.pid, half.tid)
        stack = opened[thread]
        if half.ph == "B":
            stack.append(half)
            names[*thread, half.name] += 1
        elif not stack or (half.name is not None and not names[*thread, half.name]):
            unpaired += 1
        else:
            begin = stack.pop()
            names[*thread, begin.name] -= 1
            while half.name not in (None, begin.name):
                unpaired += 1
                begin = stack.pop()
                names[*thread, begin.name] -= 1
            events.append(_complete(begin, half))
    columns = Columns()
    append(columns, Decoded(events, 0, Counter()))
    columns.events = 0  # their halves are counted
    return Paired(columns, unpaired + sum(map(len, opened.values())))


def _complete(begin: Half, end: Half) -> ExactEvent:
    objects = [half.args.strip() for half in (begin, end) if half.args.strip().startswith(b"{")]
    args = b",".join(filter(None, (text[1:-1].strip() for text in objects)))
    timed = NO_TIME_NS not in (begin.start_ns, end.start_ns)
    return ExactEvent(
        ph="X",
        cat=begin.cat,
        name=begin.name,
        pid=begin.pid,
        tid=begin.tid,
        ts=Decimal(begin.start_ns if timed else NO_TIME_NS).scaleb(-3),
        dur=Decimal(end.start_ns - begin.start_ns if timed else 0).scaleb(-3),
        args=msgspec.Raw(b"{%s}" % args),
    )
