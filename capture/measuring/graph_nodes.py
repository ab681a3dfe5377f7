"""Names of modules on the kernels of a CUDA graph, where torch names graph nodes (torch 2.14 and later).

A replay records no labels of the host, since the host runs nothing of the step. `torch.cuda.graph_annotations` names
the nodes of a graph while it is captured, and the profiler writes each kernel's node. The names themselves are only in
the process, so they are added to the trace here, in the form in which torch's own tools write them.
"""

import inspect
import json
import re
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from typing import Any

import torch
from torch import nn

from ridgeline.capture.measuring.labels import Labels

_NODE = re.compile(r'"graph node id":\s*(\d+)')


def annotations() -> Any:
    """The module `torch.cuda.graph_annotations`, or None where this torch, its libraries or the driver lack it."""
    try:
        module = import_module("torch.cuda.graph_annotations")
    except ImportError:
        return None
    can_enable = "enable_annotations" in inspect.signature(torch.cuda.graph).parameters
    return module if can_enable and module.is_available() else None


def named(labels: Labels, network: nn.Module) -> AbstractContextManager[Any]:
    """A context in which the labels of `network` name the nodes of a graph that is captured with `options()`."""
    module = annotations()
    return labels.attached(network, open_range=module.mark_kernels) if module else nullcontext()


def options() -> dict[str, bool]:
    """Keywords for `torch.cuda.graph` that make it keep the names of nodes."""
    return {"enable_annotations": True} if annotations() else {}


def forget() -> None:
    """Drop the names of all graphs captured so far."""
    if module := annotations():
        module.clear_kernel_annotations()


def write_names(trace: str) -> str:
    """Return the text of a trace with the argument `annotation` on each activity whose node has a name."""
    module = annotations()
    given = module.get_kernel_annotations() if module else {}
    if not given:
        return trace
    # the argument is a text of JSON inside of JSON
    names = {node: json.dumps(json.dumps(entries)) for node, entries in given.items()}

    def with_name(match: re.Match[str]) -> str:
        name = names.get(int(match[1]))
        return f'{match[0]}, "annotation": {name}' if name else match[0]

    return _NODE.sub(with_name, trace)
