"""One launch of a kernel by an operator's call, and the rules that say what it touches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from ridgeline.analyze.cache_model.operands import Place, Tensor, Touch

_Result = TypeVar("_Result")
_Operand = TypeVar("_Operand", Tensor, Touch)

PARTIAL_SUMS = -1
"""The storage of partial sums: one workspace, which every product reuses."""


def workspace(number: int) -> int:
    """The storage of a workspace, which all calls reuse: 0 is that of partial sums."""
    return PARTIAL_SUMS - number


class Node(NamedTuple):
    """An operator's call: its input and output tensors on the device, in order."""

    operator: str
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]
    iterations: int | None = None
    """Iterations of the loop of a generated kernel."""
    arguments: tuple[int, ...] = ()
    """For each input, the position of its argument: tensors of a list share one."""


class Call(NamedTuple):
    """An operator's call, as a form that calls share which differ only in the places of their tensors."""

    form: Node
    """The storages of its tensors are positions in ``places``, their offsets 0."""
    places: Sequence[Place]

    def node(self) -> Node:
        """The call with the storages and offsets of its tensors."""

        def placed(tensor: Tensor) -> Tensor:
            storage, offset = self.places[tensor.storage]
            return tensor._replace(storage=storage, offset=offset)

        inputs, outputs = map(placed, self.form.inputs), map(placed, self.form.outputs)
        return self.form._replace(inputs=list(inputs), outputs=list(outputs))


def call_of(node: Node) -> Call:
    """The call as its form and its places."""
    places: dict[Place, int] = {}
    inputs, outputs = (
        tuple([Tensor(places.setdefault(tensor[:2], len(places)), 0, *tensor[2:]) for tensor in tensors])
        for tensors in (node.inputs, node.outputs)
    )
    return Call(Node(node.operator, inputs, outputs, *node[3:]), list(places))


class Launch(NamedTuple):
    """One launch of an operator's call."""

    call: Node
    kernels: tuple[str, ...]
    """The names of all kernels and memsets of the call, in the order of their launches."""
    at: int
    """The number of this launch in ``kernels``."""
    multiprocessors: int

    @property
    def kernel(self) -> str:
        """The name of the launched kernel."""
        return self.kernels[self.at]

    @property
    def before(self) -> str:
        """The name of the call's previous kernel; empty for the first one."""
        return self.kernels[self.at - 1] if self.at else ""


class Helper(list[Touch]):
    """The touches of a launch that only helps: it carries the bytes that it touches, and none of the call's FLOPs.

    Changes of a layout, clears of a workspace, preparation of indices, reductions of partial sums.
    """


class Chunk(list[Touch]):
    """The touches of a launch that does a part of the call's work, such as some tensors of a list.

    It carries the bytes that it touches, and a part of the call's FLOPs in proportion to them.
    """


class Whole(list[Touch]):
    """The touches of a launch that no rule knows: all operands of the call.

    Of several such launches of a call each touches a part, and which one is unknown.
    """


Rule = Callable[[Launch], list[Touch] | None]
"""Returns what a launch touches, as a :class:`Helper` or a :class:`Chunk` where it carries its own bytes; None if the
rule does not know the launch."""


def once_per_call(of_call: Callable[[Launch], _Result]) -> Callable[[Launch], _Result]:
    """Cache the last result of ``of_call``, equal for all launches of a call, which come one after the other."""
    last: tuple[Node, tuple[str, ...], _Result] | None = None

    def cached(launch: Launch) -> _Result:
        nonlocal last
        if last is None or last[0] is not launch.call or last[1] is not launch.kernels:
            last = launch.call, launch.kernels, of_call(launch)
        return last[2]

    return cached


def writes_into_argument(operator: str) -> bool:
    """Whether an operator, with its overload where it was recorded, writes into its last argument.

    >>> [writes_into_argument(name) for name in ("aten::mm.out", "aten::sum.IntList_out", "aten::native_dropout")]
    [True, True, False]
    """
    name, _, overload = operator.rpartition("::")[2].partition(".")
    return overload == "out" or (overload or name).endswith("_out")


def same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors begin at the same place."""
    return one.storage == other.storage and one.offset == other.offset


def part(operand: _Operand, at: int, count: int) -> _Operand:
    """Part ``at`` of ``count`` equal parts of an operand, to the byte.

    >>> [part(Touch(1, 8, 10, 20, False), at, 3)[1:4] for at in range(3)]
    [(8, 3, 6), (14, 3, 7), (21, 4, 7)]
    """
    first, end = (operand.span * at // count for at in (at, at + 1))
    size = operand.bytes * (at + 1) // count - operand.bytes * at // count
    return operand._replace(offset=operand.offset + first, span=end - first, bytes=size)


def read(tensor: Tensor) -> Touch:
    """A tensor that is read whole."""
    return Touch(tensor.storage, tensor.offset, tensor.bytes, tensor.span, False)


def write(tensor: Tensor) -> Touch:
    """A tensor that is written whole."""
    return Touch(tensor.storage, tensor.offset, tensor.bytes, tensor.span, True)
