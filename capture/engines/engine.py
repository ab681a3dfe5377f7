"""What an engine says of itself: name, versions, model, ranks, and the folder of its traces.

Servers answer with whatever they were started with, paths, keys and environment included: only the fields named here
are read.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

START_VLLM = (
    "vllm serve MODEL --profiler-config.profiler torch --profiler-config.torch_profiler_dir /tmp/traces"
    " --profiler-config.torch_profiler_record_shapes True"
)
"""How to start vLLM with its profiler; capture/engines/README.md has the options for graphs and steps."""
FOLDERS = {"vllm": "VLLM_TORCH_PROFILER_DIR", "sglang": "SGLANG_TORCH_PROFILER_DIR"}
"""The environment variable that names the folder of traces. vLLM from 0.13 takes it from --profiler-config alone."""
DTYPES = {"bfloat16": "bf16", "float16": "fp16", "half": "fp16", "float32": "fp32", "float": "fp32"}
_MOST_CHARACTERS = 200


class Engine(NamedTuple):
    """An engine; None where it does not say. `ranks` is the number of traces of one profile."""

    name: str = "engine"
    version: str | None = None
    model: str | None = None
    dtype: str | None = None
    torch: str | None = None
    tensor_parallel: int | None = None
    pipeline_parallel: int | None = None
    data_parallel: int | None = None
    ranks: int | None = None
    folder: Path | None = None
    """Where the engine writes its traces."""

    @property
    def title(self) -> str:
        """The name and version for a message, for example `vllm 0.26.0`."""
        return f"{self.name} {self.version}" if self.version else self.name

    def config(self) -> dict[str, Any]:
        """The keys of the engine in run.json's config, without unknown ones."""
        keys = ("model", "dtype", "tensor_parallel", "pipeline_parallel", "data_parallel")
        values = {"engine": self.name, "engine_version": self.version} | {key: getattr(self, key) for key in keys}
        return {key: value for key, value in values.items() if value is not None}


def vllm(version: object, config: Mapping[str, Any], model: object = None, torch: object = None) -> Engine:
    """vLLM by its version and its configuration as JSON, which a server tells in development mode only."""
    parallel, of_model = _table(config, "parallel_config"), _table(config, "model_config")
    tensor, pipeline = _number(parallel.get("tensor_parallel_size")), _number(parallel.get("pipeline_parallel_size"))
    data = _number(parallel.get("data_parallel_size"))
    return Engine(
        "vllm",
        version=_text(version),
        model=_model(model or of_model.get("served_model_name") or of_model.get("model")),
        dtype=_dtype(of_model.get("dtype")),
        torch=_text(torch),
        tensor_parallel=tensor,
        pipeline_parallel=pipeline,
        data_parallel=data,
        ranks=(tensor or 1) * (pipeline or 1) * (data or 1) if parallel else None,
        folder=_folder("vllm", _table(config, "profiler_config").get("torch_profiler_dir")),
    )


def sglang(info: Mapping[str, Any], model: object = None) -> Engine:
    """SGLang by its server information: the arguments of the server, and its version."""
    tensor, pipeline, data = (_number(info.get(key)) for key in ("tp_size", "pp_size", "dp_size"))
    # Attention under data parallelism divides the ranks of tensor parallelism; replicas multiply them.
    replicas = 1 if info.get("enable_dp_attention") else data or 1
    return Engine(
        "sglang",
        version=_text(info.get("version")),
        model=_model(model or info.get("served_model_name") or info.get("model_path")),
        dtype=_dtype(info.get("dtype")),
        tensor_parallel=tensor,
        pipeline_parallel=pipeline,
        data_parallel=data,
        ranks=(tensor or 1) * (pipeline or 1) * replicas,
        folder=_folder("sglang", None),
    )


def _folder(engine: str, told: object) -> Path | None:
    path = _text(told, most=4096) or os.environ.get(FOLDERS[engine])
    return Path(path) if path and "://" not in path else None


def _table(of: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = of.get(key)
    return value if isinstance(value, Mapping) else {}


def _text(value: object, *, most: int = _MOST_CHARACTERS) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= most and value.isprintable() else None


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 20 else None


def _model(name: object) -> str | None:
    """The name of a model; of a path only its last part, since folders name users."""
    if isinstance(name, list | tuple) and name:
        name = name[0]
    text = _text(name, most=4096)
    return (Path(text).name or None) if text and text.startswith(("/", "~", ".")) else _text(text)


def _dtype(name: object) -> str | None:
    """The dtype by Ridgeline's name for it; None for `auto`, which says nothing."""
    text = (_text(name) or "auto").removeprefix("torch.")
    return None if text == "auto" else DTYPES.get(text, text)
