"""Shapes, strides and types of the results of PyTorch's operators, without PyTorch.

A rule for each operator says how its results follow from the recorded arguments. In-place operators return the operand
that they change, and those with ``out`` arguments return these.
"""

from __future__ import annotations

from ridgeline.analyze.pricing.binding import Bound
from ridgeline.analyze.pricing.outputs import (
    factories,
    gathers,
    linear_algebra,
    lists,
    losses,
    normalization,
    pieces,
    pointwise,
    products,
    recurrent,
    reductions,
    sparse,
    views,
    windows,
)
from ridgeline.analyze.pricing.outputs.calls import ITEM_BYTES, Misfit, OutputRule, check, dense, nothing, table
from ridgeline.analyze.pricing.outputs.dtypes import category
from ridgeline.analyze.pricing.schemas import NAMESPACE
from ridgeline.analyze.pricing.signature import Arguments, Tensor, Unrecorded, tensors_of

_WITHOUT_RESULT = table(
    ("_assert_async _assert_scalar _version dim dense_dim sparse_dim numel size stride storage_offset output_nr"
     " get_device _shape_as_tensor is_complex is_conj is_contiguous is_distributed is_floating_point is_inference"
     " is_leaf is_neg is_pinned is_same_size is_signed is_nonzero item _local_scalar_dense equal result_type"
     " retains_grad"
     " cudnn_is_acceptable sym_is_contiguous sym_numel sym_size sym_storage_offset sym_stride _has_same_storage_numel"
     " _has_compatible_shallow_copy_type _debug_has_internal_overlap _is_zerotensor _cummax_helper"
     " _cummin_helper can_cast promote_types _use_cudnn_ctc_loss _assert_tensor_metadata _linalg_check_errors _print"
     " sym_constrain_range sym_constrain_range_for_size", nothing),
)  # fmt: skip
"""Operators that answer with a number."""
RULES: dict[str, OutputRule] = {
    name: rule
    for family in (
        pointwise, products, windows, normalization, reductions, views, pieces, gathers, factories, losses, lists,
        recurrent, linear_algebra, sparse,
    )
    for name, rule in family.RULES.items()
} | _WITHOUT_RESULT  # fmt: skip
_RESHAPING = ("resize_", "resize_as_", "set_", "_resize_output_", "as_strided_", "resize", "resize_as", "set")
"""Operators that change an operand's shape, besides those that PyTorch tags so."""
_FILLED_IN = frozenset({"device", "layout", "pin_memory", "memory_format", "generator", "reduce"})
"""Arguments that change no shape; the name of a reduction is never recorded."""
_NUMBERS = frozenset({"int", "float", "Scalar", "int?", "float?", "Scalar?"})


def outputs(bound: Bound) -> list[Tensor] | None:
    """The results of a call, or None if PyTorch must be asked.

    Raises ValueError if PyTorch has no answer either: an argument is not recorded, or the shape depends on data.
    """
    name = bound.full_name[len(NAMESPACE) :].partition(".")[0]
    in_place = name not in RULES and name[-1] == "_"
    rule = RULES.get(name[:-1] if in_place else name)
    if rule is None:
        return None
    _check_recorded(bound)
    schema = bound.schema
    arguments: Arguments = bound
    if schema.out_names:
        arguments = Arguments({name: value for name, value in bound.arguments.items() if name not in schema.out_names})
    try:
        results = rule(arguments)
        if not schema.returns:
            return []
        if schema.out_names:
            out = (bound.needed(argument.name) for argument in schema.arguments if argument.is_out)
            return [_into(tensor, result) for tensor, result in zip(out, results, strict=False)]
        if in_place and name not in _RESHAPING and not schema.is_view:
            return [_changed(arguments, results)]
    except (Misfit, IndexError, ZeroDivisionError, OverflowError):
        if any(isinstance(value, Unrecorded) for value in bound.arguments.values()):
            raise ValueError("an argument is not recorded") from None
        return None
    return results


def _check_recorded(bound: Bound) -> None:
    """Raise ValueError if an argument without a default is not recorded, or a number is other text."""
    recorded = bound.arguments
    for argument in bound.schema.arguments:
        name = argument.name
        value = recorded.get(name)
        if value is None:
            # of a list of more than 30 numbers nothing is recorded; it changes no shape
            is_needed = not (argument.has_default or argument.is_optional or name in _FILLED_IN)
            if is_needed and argument.kind != "Scalar[]":
                raise ValueError(f"the argument {name} is not recorded")
        elif isinstance(value, Unrecorded):
            # other numbers change no shape, or the rules ask for them
            if name == "dtype" and value.kind:
                raise ValueError("the type of the result is not recorded")
        elif isinstance(value, str):
            if argument.kind in _NUMBERS and value[0] not in "-0123456789.in(TF" and name not in _FILLED_IN:
                raise ValueError(f"the argument {name} is not a number")
        else:
            for tensor in tensors_of(value):
                if tensor.precision not in ITEM_BYTES:
                    raise ValueError(f"PyTorch does not compute with the type of {name}")


def _into(out: Tensor, result: Tensor) -> Tensor:
    """An ``out`` argument, which takes the result's shape but keeps its own type."""
    return out if out.shape == result.shape else dense(result.shape, out.precision)


def _changed(arguments: Arguments, results: list[Tensor]) -> Tensor:
    """The operand that an operator changes in place, the first. The result must fit into it."""
    operand = next(value for value in arguments.arguments.values() if isinstance(value, Tensor))
    # the profiler does not record text: integers that were divided in place were rounded
    fits = category(results[0].precision) <= category(operand.precision) or "rounding_mode" in arguments.arguments
    check(results[0].shape == operand.shape and fits)
    return operand


__all__ = ["RULES", "outputs"]
