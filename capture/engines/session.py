"""One profile of an engine: the folder that its traces come into, and the run directory that they become."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ridgeline.capture.engines import directories, traces
from ridgeline.capture.engines.engine import Engine
from ridgeline.capture.engines.traces import Sizes, Trace
from ridgeline.capture.errors import CaptureError
from ridgeline.capture.recording import run_directory

PAGE = "capture/engines/README.md"


class Session(NamedTuple):
    """A profile that `engine` writes into `folder`, and `store` makes a run of in the directory `temporary`."""

    engine: Engine
    folder: Path
    before: Sizes
    temporary: Path
    say: Callable[[str], None]
    patience_s: float

    def has_traces(self) -> bool:
        """Whether the engine has begun to write a trace."""
        return bool(traces.new(self.folder, self.before))

    def store(self, name: str, experiment: str, facts: dict[str, Any]) -> int:
        """Write the run directory; a line for each thing that the analysis will miss. Returns the number of ranks.

        Raises CaptureError where the engine wrote no complete trace with events.
        """
        scratch = self.temporary / ".clean"
        scratch.mkdir()
        found = traces.collect(
            self.folder, self.before, scratch, ranks=self.engine.ranks, say=self.say, patience_s=self.patience_s
        )
        found = _with_events(found, self.say)
        captured = traces.captures(self.folder)
        directories.write(self.temporary, name, found, captured, self.engine, experiment=experiment, facts=facts)
        for line in _remarks(found, captured):
            self.say(line)
        shutil.rmtree(scratch)
        shutil.rmtree(own_folder(self.temporary), ignore_errors=True)
        return len(found)


@contextmanager
def session(
    path: Path, engine: Engine, folder: Path | None, say: Callable[[str], None], patience_s: float
) -> Iterator[Session]:
    """Yield a session whose directory becomes `path` when the block ends, and is deleted where the block raises.

    Without a `folder` that the engine writes into by itself, it is one in the temporary directory. Raises CaptureError
    where something that is no run stands at `path`, and OSError where its folder cannot be written.
    """
    run_directory.refuse(path)
    with run_directory.written(path, replace=True) as temporary:
        if folder is None:
            folder = own_folder(temporary)
            folder.mkdir()
        yield Session(engine, folder, traces.sizes(folder), temporary, say, patience_s)


def own_folder(temporary: Path) -> Path:
    """A folder for the engine's traces in a session's directory, by its full path, since the engine has another."""
    return temporary.resolve() / ".engine"


def _with_events(found: Sequence[Trace], say: Callable[[str], None]) -> list[Trace]:
    """The traces with kernels, or with operators where there is no device; a line for each other one.

    Raises CaptureError where none has any.
    """
    kept, line = [], ""
    for trace in found:
        is_on_device = bool(trace.content.header.get("deviceProperties"))
        if trace.has(traces.KERNELS if is_on_device else traces.OPERATORS + traces.KERNELS):
            kept.append(trace)
            continue
        line = f"{trace.source.name}: an empty trace, without a {'kernel' if is_on_device else 'operator'}"
        if len(found) > 1:
            say(f"{line}: left out")
    if not kept:
        raise CaptureError(f"{line}: send requests while the engine records, by `-- PROGRAM` or for more --seconds")
    return kept


def _remarks(found: Sequence[Trace], captured: Sequence[Path]) -> list[str]:
    """A line for each thing that the analysis will miss, with the remedy."""
    lines = []
    if any(trace.has(traces.REPLAYS) for trace in found) and not captured:
        lines.append(
            "the steps replay graphs, and the engine's folder has no traces of their capture: kernels will have no "
            f"operators; start the engine as {PAGE} says, and name its folder with --traces DIR"
        )
    if not all(trace.content.header.get("record_shapes") for trace in found):
        lines.append(
            "the trace has no shapes: kernels will have no FLOPs and bytes; vLLM records them with "
            "--profiler-config.torch_profiler_record_shapes True"
        )
    return lines
