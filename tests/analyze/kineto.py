"""Hand-written traces: events as Kineto writes them, in its own layout or on one line."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Event = dict[str, Any]
HEADER: dict[str, Any] = {
    "schemaVersion": 1,
    "deviceProperties": [
        {
            "id": 0,
            "name": "NVIDIA H200",
            "totalGlobalMem": 150109880320,
            "computeMajor": 9,
            "computeMinor": 0,
            "numSms": 132,
        }
    ],
    "baseTimeNanoseconds": 1790857026000000000,
    "host_name": "somewhere",
}
THREAD = {"pid": 400, "tid": 400}


def span(category: str, name: str, start_us: float, duration_us: float, **args: Any) -> Event:
    """A complete event on the host's main thread."""
    return {"ph": "X", "cat": category, "name": name, **THREAD, "ts": start_us, "dur": duration_us, "args": args}


def named(name: str) -> Event:
    """The process's name, which makes another file of the same trace."""
    return {"ph": "M", "name": "process_name", **THREAD, "ts": 0, "args": {"name": name}}


def annotation(name: str, start_us: float, duration_us: float) -> Event:
    return span("user_annotation", name, start_us, duration_us)


def frame(name: str, start_us: float, duration_us: float) -> Event:
    """A Python frame (``train.py(12): step``) or the call of a module (``nn.Module: Linear_3``)."""
    return span("python_function", name, start_us, duration_us)


def operator(
    name: str,
    start_us: float,
    duration_us: float,
    external_id: int,
    dims: Sequence[Any] = (),
    types: Sequence[str] = (),
    concrete: Sequence[str] | None = None,
    strides: Sequence[Any] | None = None,
) -> Event:
    """An operator with its recorded inputs; strides default to contiguous, as an absent entry does."""
    args: dict[str, Any] = {"External id": external_id}
    if types:
        args |= {"Input Dims": list(dims), "Input type": list(types)}
        args["Concrete Inputs"] = list(concrete or [""] * len(types))
        if strides is not None:
            args["Input Strides"] = list(strides)
    return span("cpu_op", name, start_us, duration_us, **args)


def launch(start_us: float, correlation: int, name: str = "cudaLaunchKernel", category: str = "cuda_runtime") -> Event:
    return span(category, name, start_us, 1.0, correlation=correlation)


def kernel(name: str, start_us: float, duration_us: float, correlation: int | None = None, **args: Any) -> Event:
    """A kernel on stream 7 of device 0; ``category`` in args changes what it is."""
    category = args.pop("category", "kernel")
    args = {"device": 0, "stream": 7, **args}
    if correlation is not None:
        args["correlation"] = correlation
    return {
        "ph": "X",
        "cat": category,
        "name": name,
        "pid": 0,
        "tid": 7,
        "ts": start_us,
        "dur": duration_us,
        "args": args,
    }


def text(events: Sequence[Event], layout: str = "kineto", header: dict[str, Any] | None = None) -> str:
    """The trace as JSON: Kineto's multi-line layout, or one line."""
    header = HEADER if header is None else header
    if layout == "compact":
        return json.dumps({**header, "traceEvents": list(events), "traceName": "t.json"})
    lines = [
        json.dumps(event).replace(', "ts"', ',\n    "ts"').replace(', "args": {', ',\n    "args": {\n      ')
        for event in events
    ]
    body = ",\n".join(f"  {{\n    {line[1:-1]}\n  }}" for line in lines)
    return json.dumps(header, indent=2)[:-2] + f',\n  "traceEvents": [\n{body}\n  ],\n  "traceName": "t.json"\n}}\n'


def write(path: Path, events: Sequence[Event], layout: str = "kineto", header: dict[str, Any] | None = None) -> Path:
    """Write a trace, gzipped if the path says so."""
    data = text(events, layout, header).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def matmul_step() -> list[Event]:
    """One labelled step: a product, a pointwise operator and a copy, with their launches and kernels."""
    bf16, scalar = "c10::BFloat16", "Scalar"
    return [
        annotation("phase=decode step=3 kind=decode", 0.0, 100.0),
        annotation("module=model.layers.0.mlp", 1.0, 50.0),
        operator("aten::linear", 2.0, 20.0, 1, [[4, 64], [32, 64], []], [bf16, bf16, ""]),
        operator("aten::mm", 5.0, 10.0, 2, [[4, 64], [64, 32]], [bf16, bf16], strides=[[64, 1], [1, 64]]),
        launch(6.0, 11),
        operator("aten::add.Tensor", 60.0, 10.0, 3, [[4, 32], [4, 32], []], [bf16, bf16, scalar], ["", "", "1"]),
        launch(61.0, 12),
        operator("aten::copy_", 80.0, 10.0, 4, [[4, 32], [4, 32], []], [bf16, bf16, scalar], ["", "", "False"]),
        launch(81.0, 13, "cudaMemcpyAsync"),
        kernel("nvjet_sm90_tst_64x8", 10.0, 4.0, 11, **{"External id": 2}),
        kernel("void cublasLt::splitKreduce_kernel", 14.5, 1.5, 11, **{"External id": 2}),
        kernel("void at::native::vectorized_elementwise_kernel", 65.0, 2.25, 12, **{"External id": 3}),
        kernel(
            "Memcpy DtoD (Device -> Device)", 85.0, 1.125, 13, category="gpu_memcpy", bytes=256, **{"External id": 4}
        ),
        {"ph": "s", "id": 11, "pid": 400, "tid": 400, "ts": 6.0, "cat": "ac2g", "name": "ac2g"},
        {"ph": "M", "name": "process_name", "pid": 400, "tid": 0, "args": {"name": "python3"}},
    ]
