"""Repeat a real Kineto trace until it has the wanted size, in Kineto's own multi-line layout.

    python -m tests.bench.make_trace SOURCE OUT --megabytes 120
    python -m tests.bench.make_trace SOURCE OUT --repeats 20

Each repeat starts where the one before ended. Whatever tells events apart stays distinct: correlation, external and
flow ids, sequence numbers, and the numbers of steps. Process and thread names are written once. The output is streamed,
and compressed when OUT ends in `.gz`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

Event = dict[str, Any]

ID_ARGS = frozenset(
    ["External id", "correlation", "Record function id", "Ev Idx", "Python id", "Python parent id", "Python module id"]
)
STEP = re.compile(r"(ProfilerStep#|\bstep=)(\d+)")
GAP_NS = 1_000
CHUNK = 10_000


@dataclass(frozen=True)
class Trace:
    header: Event
    names: list[Event]  # of processes and threads: written once
    events: list[Event]  # repeated

    @classmethod
    def read(cls, path: Path) -> Trace:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            header = json.load(file, parse_float=Decimal)  # a float would lose the nanoseconds of some clocks
        events = header.pop("traceEvents")
        return cls(header, [e for e in events if e["ph"] == "M"], [e for e in events if e["ph"] != "M"])


@dataclass(frozen=True)
class Strides:
    """What one repeat adds to every time, id and step number of the one before."""

    time_ns: int
    ids: int
    steps: int

    @classmethod
    def of(cls, events: list[Event]) -> Strides:
        timed = [e for e in events if "ts" in e]
        first = min(_ns(e["ts"]) for e in timed)
        last = max(_ns(e["ts"]) + _ns(e.get("dur", 0)) for e in timed)
        steps = [int(match[2]) for e in events for match in STEP.finditer(e.get("name", ""))] or [0]
        ids = max((i for e in events for i in _ids(e)), default=0)
        return cls(last - first + GAP_NS, ids + 1, max(steps) - min(steps) + 1)


@dataclass
class Template:
    """One event's text, with a hole wherever a repeat changes it. What fills a hole is a start, a stride and a form."""

    by: Strides
    text: list[str] = field(default_factory=list)
    holes: list[tuple[int, int, bool]] = field(default_factory=list)

    @classmethod
    def of(cls, event: Event, by: Strides) -> Template:
        template = cls(by)
        body = ",\n    ".join(", ".join(line) for line in template._lines(event))
        template.text = f"  {{\n    {body}\n  }}".split("\0")
        return template

    def render(self, repeat: int) -> str:
        parts = [self.text[0]]
        for (start, stride, is_time), text in zip(self.holes, self.text[1:], strict=True):
            value = start + repeat * stride
            parts += (_microseconds(value) if is_time else str(value), text)
        return "".join(parts)

    def _lines(self, event: Event) -> Iterator[list[str]]:
        """Kineto's lines: what the event is; when; its arguments."""
        line: list[str] = []
        for key, value in event.items():
            if line and key in ("ts", "args"):
                yield line
                line = []
            line.append(f"{json.dumps(key)}: {self._value(key, value)}")
        yield line

    def _value(self, key: str, value: Any) -> str:
        if key == "ts":
            return self._hole(_ns(value), self.by.time_ns, is_time=True)
        if key == "dur":
            return _microseconds(_ns(value))
        if key == "name":
            return STEP.sub(lambda match: match[1] + self._hole(int(match[2]), self.by.steps), _dumps(value))
        if key == "id":
            return self._id(value)
        if key == "args":
            fields = (f"{json.dumps(k)}: {self._id(v) if k in ID_ARGS else _dumps(v)}" for k, v in value.items())
            return "{\n      " + ", ".join(fields) + "\n    }"
        return _dumps(value)

    def _id(self, value: Any) -> str:
        is_id = isinstance(value, int) and value > 0  # 0 and -1 stand for none
        return self._hole(value, self.by.ids) if is_id else _dumps(value)

    def _hole(self, start: int, stride: int, *, is_time: bool = False) -> str:
        self.holes.append((start, stride, is_time))
        return "\0"  # JSON text never holds one


def _ids(event: Event) -> Iterator[int]:
    values = (event.get("id"), *(v for k, v in event.get("args", {}).items() if k in ID_ARGS))
    return (v for v in values if isinstance(v, int))


def _ns(microseconds: Decimal | int) -> int:
    return round(microseconds * 1000)


def _microseconds(ns: int) -> str:
    return f"{ns // 1000}.{ns % 1000:03d}"


def _dumps(value: Any) -> str:
    return json.dumps(value, default=float)


def render(trace: Trace, repeats: int) -> Iterator[str]:
    """The text of the repeated trace, in pieces."""
    strides = Strides.of(trace.events)
    templates = [Template.of(event, strides) for event in trace.events]
    header = json.dumps(trace.header, indent=2, default=float).removesuffix("\n}")
    yield header + ("," if trace.header else "") + '\n  "traceEvents": [\n'
    yield "".join(Template.of(event, strides).render(0) + ",\n" for event in trace.names)
    for repeat in range(repeats):
        for start in range(0, len(templates), CHUNK):
            joint = ",\n" if repeat or start else ""
            yield joint + ",\n".join(t.render(repeat) for t in templates[start : start + CHUNK])
    yield "\n  ]\n}\n"


def repeats_for(trace: Trace, megabytes: float) -> int:
    """How many repeats come nearest to a size, at least one."""
    strides = Strides.of(trace.events)
    templates = [Template.of(event, strides) for event in trace.events]
    repeats = 1
    for _ in range(2):  # later repeats have longer numbers: once more, with the one in the middle
        size = sum(len(t.render(repeats // 2)) + len(",\n") for t in templates)
        repeats = max(1, round(megabytes * 1e6 / size))
    return repeats


def write(trace: Trace, target: Path, repeats: int) -> int:
    """Write the repeated trace; return its number of events."""
    with _open(target) as file:
        file.writelines(render(trace, repeats))
    return len(trace.names) + repeats * len(trace.events)


def _open(target: Path) -> IO[str]:
    if target.suffix == ".gz":
        return gzip.open(target, "wt", compresslevel=6, encoding="utf-8")
    return target.open("w", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--repeats", type=int)
    size.add_argument("--megabytes", type=float)
    args = parser.parse_args()
    trace = Trace.read(args.source)
    events = write(trace, args.target, args.repeats or repeats_for(trace, args.megabytes))
    print(f"{args.target}: {events:,} events, {args.target.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
