"""The ordinary events of each category: the arguments that are read, and the arguments that no ordinary event has.

:mod:`ridgeline.analyze.reading.columns` reads all other events.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from ridgeline.analyze.reading.arguments import COLLECTIVE, is_of_lists
from ridgeline.analyze.reading.categories import (
    ANNOTATION,
    DEVICE,
    FRAME,
    HOST_ONLY,
    KERNEL,
    LAUNCH,
    OLD,
    OPERATOR,
    RANGE,
)
from ridgeline.analyze.reading.collectives import RECORDER, may_be_collective
from ridgeline.analyze.reading.events import DeviceArgs, LaunchArgs, OperatorArgs, UncorrelatedLaunchArgs
from ridgeline.analyze.reading.node_annotations import NodeArgs


class Category(msgspec.Struct, frozen=True):
    """The ordinary events of a category. Arguments are given as column -> name."""

    group: str = ""
    """The group of the columns; empty for events that are counted and not read."""
    numbers: dict[str, str] = msgspec.field(default_factory=dict)
    needed: dict[str, str] = msgspec.field(default_factory=dict)
    """Numbers that each ordinary event has."""
    texts: dict[str, str] = msgspec.field(default_factory=dict)
    """Values that are kept as JSON text, all together as one code."""
    code: str | None = None
    """The column of that code."""
    has_name_in_text: bool = False
    is_ordered: bool = False
    """True if the file tells which of two events with equal spans is the outer one, unless a needed number tells it."""
    unexpected: dict[str, str] = msgspec.field(default_factory=dict)


def _arguments(struct: type[msgspec.Struct], names: str) -> dict[str, str]:
    """Return the named fields of a struct, in its order, with the names that they have in JSON."""
    return {field.name: field.encode_name for field in msgspec.structs.fields(struct) if field.name in names.split()}


_ACTIVITY = Category(
    "device",
    numbers=_arguments(DeviceArgs, "external_id correlation bytes graph_id graph_node_id"),
    needed=_arguments(DeviceArgs, "device stream"),
    unexpected=_arguments(NodeArgs, "annotation name autograd_phase module phase"),
)
_KERNEL = replace(
    _ACTIVITY, texts=_arguments(DeviceArgs, "grid block registers shared_bytes occupancy"), code="geometry"
)
_LAUNCH = Category(
    "launch",
    needed=_arguments(LaunchArgs, "correlation"),
    texts=_arguments(LaunchArgs, "kernel"),
    code="kernel",
    unexpected=_arguments(UncorrelatedLaunchArgs, "kernel"),
)
_OPERATOR = Category(
    "operator",
    numbers=_arguments(OperatorArgs, "record_id sequence forward_thread"),
    needed=_arguments(OperatorArgs, "external_id"),
    texts=_arguments(OperatorArgs, "dims types strides concrete"),
    code="signature",
    has_name_in_text=True,
    is_ordered=True,
    unexpected=_arguments(OperatorArgs, "kernel_num_gb kernel_flop"),
)
CATEGORIES = {
    **{name: _KERNEL if code == KERNEL else _ACTIVITY for name, code in DEVICE.items() if code != RANGE},
    **dict.fromkeys(LAUNCH, _LAUNCH),
    OPERATOR: _OPERATOR,
    ANNOTATION: Category("annotation", is_ordered=True),
    FRAME: Category("frame", is_ordered=True),
    **dict.fromkeys(HOST_ONLY, Category()),
}
for _name in OLD & CATEGORIES.keys():  # their arguments have other names
    del CATEGORIES[_name]


def others(name: str) -> set[str]:
    """Return the groups in which an event of this name is not ordinary: it has further arguments that are read."""
    groups = set()
    if may_be_collective(name) or is_of_lists(name):
        groups.add("device")
    if name == RECORDER:
        groups.add("operator")
    if name.startswith(COLLECTIVE):
        groups.add("annotation")
    return groups
