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


def change(at_us: float, mb: int, total_mb: int | None, *, tid: int = 400, **args: Any) -> Event:
    """A change of memory of ``mb`` million bytes on device 0, or by ``args`` on another."""
    args = {"Device Id": 0, "Device Type": 1, "Total Reserved": 100_000_000, **args}
    totals = {} if total_mb is None else {"Total Allocated": total_mb * 1_000_000}
    return {
        "ph": "i", "cat": "cpu_instant_event", "s": "t", "name": "[memory]", "pid": 400, "tid": tid, "ts": at_us,
        "args": {**totals, **args, "Bytes": mb * 1_000_000, "Addr": 1},
    }  # fmt: skip


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


def numbered(event: Event, sequence: int, forward_thread: int = 0) -> Event:
    """An operator with the numbers that autograd records: in grad mode, or of a backward node."""
    return event | {"args": event["args"] | {"Sequence number": sequence, "Fwd thread id": forward_thread}}


def on_thread(thread: int, *events: Event) -> list[Event]:
    return [event | {"tid": thread} for event in events]


def node(name: str, start_us: float, duration_us: float, external_id: int, sequence: int | None = None) -> list[Event]:
    """A node of the backward pass on autograd's thread, as the engine's operator and the node's own."""
    engine = operator(f"autograd::engine::evaluate_function: {name}", start_us, duration_us, external_id)
    own = operator(name, start_us + 0.5, duration_us - 1, external_id + 1)
    if sequence is None:
        return on_thread(401, engine, own)
    return on_thread(401, numbered(engine, sequence, 1), numbered(own, sequence, 1))


def training_step(number: int) -> list[Event]:
    """An iteration of 200 us: a forward pass, its backward pass on autograd's thread, clipping and an optimizer.

    17 kernels of 11.75 us run without a pause, from 20 us after the start of the iteration on.
    """
    start_us, sequence, ids = 200.0 * number, 3 * number, 100 * number  # an iteration makes three nodes
    events: list[Event] = [annotation(f"ProfilerStep#{number}", 0, 199)]
    events += [annotation("Optimizer.zero_grad#SGD.zero_grad", 1, 4)]
    events += [numbered(operator("aten::zero_", 2, 2, ids), sequence)]
    events += [numbered(operator("aten::copy_", 6, 3, ids + 1), sequence)]
    events += [numbered(operator("aten::linear", 10, 10, ids + 2), sequence)]
    events += [numbered(operator("aten::mm", 11, 8, ids + 3), sequence)]
    events += [operator("aten::cos", 22, 4, ids + 4)]
    events += [numbered(operator("aten::relu", 28, 4, ids + 5), sequence + 1)]
    events += [numbered(operator("aten::mean", 34, 4, ids + 6), sequence + 2)]
    events += [operator("aten::ones_like", 40, 3, ids + 7)]
    events += node("MeanBackward0", 50, 8, ids + 10, sequence + 2)
    events += on_thread(401, operator("aten::div", 52, 3, ids + 12))
    events += node("ReluBackward0", 60, 8, ids + 13, sequence + 1)
    events += on_thread(401, operator("aten::threshold_backward", 62, 3, ids + 15))
    events += node("MmBackward0", 70, 12, ids + 16, sequence)
    events += on_thread(401, operator("aten::mm", 72, 3, ids + 18), operator("aten::mm", 76, 3, ids + 19))
    events += node("torch::autograd::AccumulateGrad", 84, 8, ids + 20)
    events += on_thread(401, annotation("nccl:all_reduce", 86, 4), operator("aten::copy_", 95, 3, ids + 22))
    events += [operator("aten::_foreach_norm", 110, 5, ids + 23)]
    events += [annotation("Optimizer.step#SGD.step", 120, 20), operator("aten::_foreach_add_", 122, 5, ids + 24)]
    events += [numbered(operator("aten::item", 150, 5, ids + 25), sequence + 3)]
    launches = (
        ("zero", 2.5, 400), ("copy", 7, 400), ("mm", 12, 400), ("cos", 23, 400), ("relu", 29, 400), ("mean", 35, 400),
        ("ones", 41, 400), ("mean_backward", 53, 401), ("relu_backward", 63, 401), ("mm_backward_1", 73, 401),
        ("mm_backward_2", 77, 401), ("all_reduce", 87, 401), ("finish", 96, 401), ("clip", 111, 400),
        ("add", 123, 400), ("prefetch", 130, 402), ("read", 152, 400),
    )  # fmt: skip
    for place, (name, at_us, thread) in enumerate(launches):
        events += on_thread(thread, launch(at_us, ids + place))
        events += [kernel(name, 20 + 11.75 * place, 11.75, ids + place)]
    return [event | {"ts": event["ts"] + start_us} for event in events]
