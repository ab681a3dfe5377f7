"""A recorded call matched to an overload of PyTorch's schemas, without PyTorch, and the bytes that it moves."""

from __future__ import annotations

from ridgeline.analyze.pricing.schemas import NAMESPACE, TRAITS, Argument, Schema, schemas
from ridgeline.analyze.pricing.signature import Arguments, Call, Tensor, Unrecorded, Value, tensors_of, total_bytes

MOST_PIECES = 1 << 16
"""Results into which an operator may split a tensor, or steps that it may take along it."""


class Bound(Arguments, frozen=True):
    """A call matched to an overload: its arguments by the names of the schema."""

    schema: Schema

    @property
    def pointwise(self) -> bool:
        """Whether PyTorch tags the operator as pointwise."""
        return TRAITS["pointwise"] in self.schema.traits

    @property
    def composite(self) -> bool:
        """Whether the operator only calls others: it has no kernel of its own and costs nothing itself."""
        return self.schema.is_composite

    @property
    def full_name(self) -> str:
        """The name with namespace and overload."""
        return self.schema.full_name

    @property
    def callable(self) -> bool:
        """Whether a call on the meta device computes shapes and does nothing else."""
        if not self.schema.may_run:
            return False
        operands = self.arguments.values()
        if not any(isinstance(value, Tensor) or (isinstance(value, list) and value) for value in operands):
            return any(argument.name == "device" for argument in self.schema.arguments)
        if not self.schema.takes_steps or "split_sizes" in self.arguments:  # a recorded size for each piece
            return True
        return all(size <= MOST_PIECES for value in operands for tensor in tensors_of(value) for size in tensor.shape)


def bind(call: Call) -> Bound | None:
    """The overload that fits the call, or None if the operator is not one of ``aten``."""
    if not call.operator.startswith(NAMESPACE):
        return None
    name, _, overload = call.operator.removeprefix(NAMESPACE).partition(".")
    candidates = schemas(name)
    if overload:
        candidates = tuple(schema for schema in candidates if schema.full_name == _full_name(name, overload))
    # undefined tensors only where no overload fits without them
    for undefined in (False, True):
        for schema in candidates:
            arguments = _arguments(schema, call.inputs, undefined=undefined)
            if arguments is not None:
                return Bound(arguments, schema)
    return None


def _full_name(name: str, overload: str) -> str:
    return f"{NAMESPACE}{name}" if overload == "default" else f"{NAMESPACE}{name}.{overload}"


def _arguments(schema: Schema, inputs: list[Value], *, undefined: bool) -> dict[str, Value] | None:
    """The inputs by argument name; None if one does not fit, or if a needed one is missing.

    With ``undefined``, a tensor that is not recorded may be an undefined one, as backward operators take; the first
    argument never is.
    """
    if not schema.needed <= len(inputs) <= len(schema.arguments):
        return None
    arguments: dict[str, Value] = {}
    for argument, value in zip(schema.arguments, inputs, strict=False):
        if not _accepts(argument, value, undefined=undefined and bool(arguments)):
            return None
        arguments[argument.name] = value
    return arguments


_LISTS = frozenset({"Tensor[]", "Tensor?[]"})
_TENSORS = frozenset({"Tensor", "Tensor?"})
_NUMBERS = frozenset({"int", "bool", "float", "Scalar"})
_LISTS_OF_NUMBERS = frozenset(f"{kind}[]" for kind in _NUMBERS)
_RECORDED_AS_TENSORS = frozenset({"int", "float", "Scalar"})
"""Types of a number that may be recorded as a tensor without dimensions."""


def _accepts(argument: Argument, value: Value, *, undefined: bool) -> bool:
    """Whether a value can be the argument; with ``undefined``, None can be a tensor."""
    kind = argument.kind
    if isinstance(value, Tensor):
        return kind in _TENSORS or (value.shape == () and kind in _RECORDED_AS_TENSORS)
    if isinstance(value, list):
        return kind in _LISTS
    if value is None:
        # numbers and lists of tensors are always recorded, other lists and text not
        return undefined if kind == "Tensor" else argument.has_default or kind not in (*_NUMBERS, "Tensor[]")
    kind = kind.removesuffix("?")
    if isinstance(value, Unrecorded):
        return _accepts_unrecorded(argument, kind, value.kind, undefined=undefined)
    # The text of a concrete value. Types that a number could also be are accepted.
    is_bool = value in ("True", "False")
    if kind == "bool":
        return is_bool
    if kind in ("Device", "int", "float", "Scalar"):
        return (not is_bool or kind == "Scalar") and value[0] != "[" and not (kind == "Device" and value.isdecimal())
    # of indices, ingest records the sizes that they address
    return kind not in ("Tensor", "Tensor[]") and (not kind.endswith("[]") or value[0] == "[")


def _accepts_unrecorded(argument: Argument, kind: str, recorded: str, *, undefined: bool) -> bool:
    """Whether a value of the ``recorded`` type can be the argument, of ``kind`` or None."""
    if recorded == "Scalar":
        return kind in _NUMBERS
    if recorded == "ScalarList":
        return kind in _LISTS_OF_NUMBERS
    if recorded == "GenericList":
        return kind.endswith("[]")
    if kind == "Tensor" and not argument.is_optional:
        return undefined
    return kind not in _NUMBERS or argument.is_optional


def reads_and_writes(
    bound: Bound, produced: list[Tensor], *, overwrites: bool, ignores: tuple[str, ...] = ()
) -> tuple[int, int]:
    """Compulsory bytes by the schema's alias annotations: (read, written).

    Every input is read once, unless it is only written (``out=``, ``copy_``, ``fill_``) or one that ``ignores`` names.
    Every fresh output is written once, and so is an argument marked ``(a!)``. An operator is a view and moves nothing
    if its results only alias its inputs, or if it only changes an input's shape in place (``inplace_view``).
    """
    schema = bound.schema
    if schema.is_view:
        return 0, 0
    # an operator without results, such as a foreach, or with others, such as a batch norm, writes its marked arguments
    read = 0
    written_arguments = []
    for argument in schema.arguments:
        if not (tensors := tensors_of(bound.arguments.get(argument.name))):
            continue
        if argument.is_written:
            written_arguments += tensors
        if not (argument.name in ignores or (argument.is_written and (overwrites or argument.is_out))):
            read += total_bytes(tensors)
    # results that alias the written arguments are these
    written = total_bytes(produced) if schema.returns else 0
    if not any("!" in kind for kind in schema.returns):
        written += total_bytes(written_arguments)
    return read, written
