"""The traces that the benchmarks read: real ones at hand, and the sources of those that are generated."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from ridgeline.analyze.companions.discovery import discover
from ridgeline.analyze.reading.reader import open_bytes
from tests.bench import make_trace

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
OWN = ROOT / "tests" / "data"
AT_HAND = (*(SHARED / name for name in ("traces", "h200", "foreign", "engines", "ranks")), OWN)
SOURCES = ("traces/h100-qwen1.5-0.5b-prefill", "h200/dlm_prefix", "foreign/resnet_train")
"""An eager prefill, diffusion steps with labels and modules, and training, of three recorders."""


@dataclass(frozen=True)
class File:
    """A trace: its size uncompressed, in megabytes, and its number of events."""

    name: str
    path: Path
    megabytes: float
    events: int


def at_hand(named: Iterable[Path] = ()) -> list[File]:
    """Return every real trace in the folders at hand and those ``named``, each content once, the smallest first."""
    files: dict[str, File] = {}
    for folder in (*(folder for folder in AT_HAND if folder.is_dir()), *named):
        sources, errors = discover([folder])
        for error in errors:
            sys.exit(str(error))
        for source in sources:
            if source.trace:
                with open_bytes(source.trace) as file:
                    text = file.read()
                name = f"{folder.name}/{source.name}"
                read = File(name, source.trace, len(text) / 1e6, text.count(b'"ph"'))
                files.setdefault(sha256(text).hexdigest(), read)
    return sorted(files.values(), key=lambda file: file.megabytes)


def default_sources() -> list[Path]:
    """Return the three traces to repeat; where they are absent, the three largest of the project's own."""
    shared = [SHARED / f"{name}.json.gz" for name in SOURCES]
    if all(path.exists() for path in shared):
        return shared
    return sorted(OWN.rglob("trace.json*"), key=lambda path: -path.stat().st_size)[: len(SOURCES)]


def generated(sources: Sequence[Path], sizes: Sequence[float], folder: Path) -> Iterator[File]:
    """Yield each source repeated to each size; the file is removed when the next one is asked for."""
    for source in sources:
        trace = make_trace.Trace.read(source)
        stem = source.name.partition(".json")[0]
        stem = source.parent.name if stem == "trace" else stem
        for megabytes in sizes:
            path = folder / f"{stem}-{megabytes:g}mb.json"
            events = make_trace.write(trace, path, make_trace.repeats_for(trace, megabytes))
            yield File(f"{stem} × {events // len(trace.events)}", path, path.stat().st_size / 1e6, events)
            path.unlink()
