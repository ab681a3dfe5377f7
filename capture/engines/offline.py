"""Record an engine that runs in this program: vLLM's LLM, SGLang's Engine."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ridgeline import terminal
from ridgeline.capture.engines import engine
from ridgeline.capture.engines.engine import START_VLLM, Engine
from ridgeline.capture.engines.session import session
from ridgeline.capture.engines.traces import PATIENCE_S
from ridgeline.capture.errors import CaptureError


@contextmanager
def profiled(
    llm: Any,
    path: str | Path,
    *,
    name: str | None = None,
    experiment: str = "default",
    folder: str | Path | None = None,
    say: Callable[[str], None] = terminal.say,
    patience_s: float = PATIENCE_S,
    **facts: Any,
) -> Iterator[None]:
    """Record what `llm` does in the block into the run directory `path`, with a directory a rank where it has several.

    `llm` is vLLM's `LLM` or SGLang's `Engine`. `folder` is where it writes its traces: by default what vLLM was
    configured with, and for SGLang a temporary folder. `facts` go into run.json's config. The block's exceptions pass
    through; after a block without one, what prevents the recording is said in one line.

    Raises CaptureError before the block where the profiler does not start, with the remedy, or where `path` is no run.
    """
    path = Path(path)
    described = describe(llm)
    watched = Path(folder) if folder else described.folder
    if watched is None and described.name != "sglang":
        raise CaptureError(f"{described.title} runs without its profiler; start it with it, as by {START_VLLM}")
    is_done = False
    try:
        with session(path, described, watched, say, patience_s) as profile:
            _start(llm, described, profile.folder)
            try:
                yield
            finally:
                _stop(llm, say)
            is_done = True
            profile.store(name or path.name, experiment, facts)
    except (CaptureError, OSError) as error:
        if not is_done:
            raise
        say(f"not recorded: {error}")


def describe(llm: Any) -> Engine:
    """What a vLLM `LLM` or a SGLang `Engine` says of itself. Raises CaptureError for another object."""
    manager = getattr(llm, "tokenizer_manager", None)
    arguments = getattr(llm, "server_args", None) or getattr(manager, "server_args", None)
    library = type(llm).__module__.partition(".")[0]
    version = getattr(sys.modules.get(library), "__version__", None)
    if arguments is not None:
        return engine.sglang({**_attributes(arguments), "version": version})
    config = getattr(getattr(llm, "llm_engine", None), "vllm_config", None)
    if config is None:
        raise CaptureError(f"expected vllm.LLM or sglang.Engine, found {type(llm).__module__}.{type(llm).__qualname__}")
    parts = ("model_config", "parallel_config", "profiler_config")
    tables = {part: _attributes(getattr(config, part, None)) for part in parts}
    tables["model_config"]["dtype"] = str(tables["model_config"].get("dtype", "auto"))
    torch = getattr(sys.modules.get("torch"), "__version__", None)
    return engine.vllm(version, tables, torch=str(torch) if torch else None)


def _attributes(of: object) -> dict[str, Any]:
    return dict(of) if isinstance(of, Mapping) else dict(getattr(of, "__dict__", {}))


def _start(llm: Any, described: Engine, folder: Path) -> None:
    try:
        if described.name != "sglang":
            llm.start_profile()
            return
        try:
            llm.start_profile(output_dir=str(folder.resolve()), record_shapes=True)
        except TypeError:  # older ones take no arguments, and write where SGLANG_TORCH_PROFILER_DIR says
            llm.start_profile()
    except Exception as error:  # engines raise whatever their workers raise
        line = str(error).strip().partition("\n")[0]
        raise CaptureError(f"{described.title} did not start its profiler: {line}") from error


def _stop(llm: Any, say: Callable[[str], None]) -> None:
    try:
        llm.stop_profile()
    except Exception as error:
        say(f"the engine did not stop its profiler: {error}")
