"""Annotations of the nodes of a CUDA graph, as they stand in the arguments of the activities that a replay runs.

``torch.cuda.graph_annotations.mark_kernels`` names the nodes that a program captures (torch 2.14 and later). torch's
tools write these names into a trace in two ways: all in ``annotation``, or each key as an argument of its own. Kineto
writes neither, only the node. A pickle of annotations beside a trace is never read, since loading it would run code.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Raw, Struct, json

from ridgeline.analyze.reading.arguments import AnyEvent, decode_args


class NodeArgs(Struct, gc=False):
    annotation: Raw = Raw()
    """Annotations as JSON, often as a text of JSON: a list of objects, an object, or a name."""
    name: Raw = Raw()
    """The name of the innermost region."""
    autograd_phase: Raw = Raw()
    """``backward`` for the work of a backward pass."""
    module: Raw = Raw()
    phase: Raw = Raw()


def annotations_of(events: Sequence[AnyEvent], nodes: Sequence[int]) -> list[str | None]:
    """Return the annotation of each activity as the text of a JSON object, None where it has none.

    ``nodes`` are the activities' nodes, 0 or less for none. Of activities without any the list is empty.
    """
    if max(nodes) <= 0:  # only graphs have nodes
        return []
    return [
        _text_of(args) if node > 0 else None for node, args in zip(nodes, decode_args(events, NodeArgs), strict=True)
    ]


def _text_of(args: NodeArgs) -> str | None:
    written = {name: raw for name in NodeArgs.__struct_fields__ if (raw := getattr(args, name))}
    return json.encode(written).decode(errors="replace") if written else None
