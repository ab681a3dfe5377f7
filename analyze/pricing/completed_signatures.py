"""Signatures completed with facts that the profiler leaves out and the trace has elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import msgspec
import polars as pl

from ridgeline.analyze.pricing.engines.collectives import NAME, kind
from ridgeline.analyze.pricing.lists import complete
from ridgeline.analyze.pricing.signature import json_list, parse
from ridgeline.analyze.reading.arguments import with_object
from ridgeline.analyze.reading.arrays import Interned
from ridgeline.analyze.reading.collectives import RECORDER
from ridgeline.analyze.reading.columns import Signature
from ridgeline.analyze.reading.trace import Trace

_NCCL_ELEMENT = re.compile(r"nccl\w*_(bf16|f16|f32|f64|i8|u8|i32|i64|half|float|double)(?:_|\b)")
_COLLECTIVE = re.compile(r"nccl\w*?Kernel_(All[A-Z][a-z]+|ReduceScatter|Broadcast|Reduce|SendRecv)")
# cross_device_reduce_1stage<T, ranks> of vLLM, SGLang, aiter; two_shot_all_reduce_kernel<T, alignment, ranks> of torch
_CUSTOM_RANKS = re.compile(r"(?:cross_device_reduce_\w+<|(?:one|two)_shot_all_reduce_\w+<[^<>,]+,)[^<>,]+, *(\d+)")
_NCCL_ELEMENTS = {
    "bf16": "c10::BFloat16", "f16": "c10::Half", "half": "c10::Half", "f32": "float", "float": "float", "f64": "double",
    "double": "double", "i8": "signed char", "u8": "unsigned char", "i32": "int", "i64": "long int",
}  # fmt: skip
"""Element types in the names of NCCL's kernels -> in the profiler's records."""

_INDEXED = frozenset({"aten::index", "aten::index_put_", "aten::_index_put_impl_"})
_INDICES = 1
"""Position of the indices among their arguments."""
_SELECTING_INPUTS = {"aten::nonzero": 1, "aten::masked_select": 2}
"""Operators whose result's size depends on data, and their number of inputs."""
_SELECTING = frozenset(_SELECTING_INPUTS)
_POSITION = "long int"
_SPARSE_PRODUCTS = frozenset({"aten::addmm", "aten::addmm_", "aten::mm", "aten::_sparse_mm"})
_INDICES_OF_TWO = re.compile(rb"\[\[2, ?(\d{1,15})\]")
"""Dimensions of the indices of a sparse matrix."""
RECORDS_COLLECTIVES = re.compile(r"record_param_comms|nccl:|.*all_?reduce_?(?:\.|$)")
"""Operators of collectives, whose kernels' names say what they do not record."""


def assign(trace: Trace, activities: pl.DataFrame) -> pl.DataFrame:
    """``activities`` with ``signature``, the code of the operator's signature, null without an operator.

    Completed signatures are added to ``trace.signatures``. The view that an indexing operator makes of its tensor says
    which elements it addresses. A kernel's name says the element type of a tensor list, the kind of a collective and
    the ranks of a custom all-reduce; its arguments say all of a collective, also without an operator.
    """
    codes = _by_inner_calls(trace)
    activities = activities.with_columns(
        signature=codes.gather(activities["operator"].fill_null(0)) if len(codes) else None
    )
    activities = activities.with_columns(signature=pl.when(pl.col("operator").is_not_null()).then("signature"))
    if "collective" in activities.columns:
        activities = _with_collectives(trace, activities)
    lists = [code for code, signature in enumerate(trace.signatures) if b'"TensorList"' in signature[2]]
    if lists:
        activities = _with_lists(trace, activities, lists)
    incomplete = [code for code, signature in enumerate(trace.signatures) if RECORDS_COLLECTIVES.match(signature[0])]
    if not incomplete:
        return activities
    pairs = (
        activities.filter(pl.col("signature").is_in(incomplete)).select("signature", "name").unique(maintain_order=True)
    )
    # one completed signature for each signature and kernel name that occur together
    completed = _codes(trace, [completed_by(trace.signatures[code], trace.names[name]) for code, name in pairs.rows()])
    return (
        activities.join(
            pairs.with_columns(completed=completed), on=["signature", "name"], how="left", maintain_order="left"
        )
        .with_columns(signature=pl.coalesce("completed", "signature"))
        .drop("completed")
    )


def _with_collectives(trace: Trace, activities: pl.DataFrame) -> pl.DataFrame:
    """``activities`` with the signatures of collectives by their kernels' own arguments, which Kineto copies from
    ``record_param_comms``.
    """
    described = activities.filter(pl.col("collective").is_not_null()).select("signature", "collective")
    pairs = described.unique(maintain_order=True)
    completed = []
    for code, text in pairs.rows():
        recorded = trace.signatures[code] if code is not None else (RECORDER, b"", b"", b"", b"")
        added = trace.names[text].encode()
        has_it = recorded[4].endswith(added + b"]")  # an operator that recorded the same
        completed.append(recorded if has_it else (*recorded[:4], with_object(recorded[4], added)))
    pairs = pairs.with_columns(completed=_codes(trace, completed))
    keys = ["signature", "collective"]
    return (
        activities.join(pairs, on=keys, how="left", nulls_equal=True, maintain_order="left")
        .with_columns(signature=pl.coalesce("completed", "signature"))
        .drop("completed", "collective")
    )


def _with_lists(trace: Trace, activities: pl.DataFrame, codes: Sequence[int]) -> pl.DataFrame:
    """The activities with completed signatures for calls of ``codes``, which have lists of tensors."""
    completed = complete(trace, activities, codes)
    if not completed:
        return activities
    of_operator = pl.concat(
        rows.with_columns(completed=pl.lit(code, dtype=pl.Int64))
        for (rows, _), code in zip(completed, _codes(trace, [signature for _, signature in completed]), strict=True)
    )
    return (
        activities.join(of_operator, on="operator", how="left", maintain_order="left")
        .with_columns(signature=pl.coalesce("completed", "signature"))
        .drop("completed")
    )


def _by_inner_calls(trace: Trace) -> pl.Series:
    """Each operator's signature, completed by what an operator inside it recorded.

    An indexing operator makes a view of its tensor, which has the sizes of the indexed elements and stride 0 in the
    place of an index. An operator whose result's size depends on data resizes its result. A product with a sparse
    matrix divides its indices, and sums of equal indices number the elements.
    """
    views, results, counts, lengths = {}, {}, {}, {}
    for code, (operator, dims, _, _, concrete) in enumerate(trace.signatures):
        if operator == "aten::select" and (found := _INDICES_OF_TWO.match(dims)):
            counts[code] = found[1].decode()
        elif operator == "aten::arange":
            lengths[code] = max(filter(str.isdecimal, _texts(concrete)), key=int, default="")
        elif operator == "aten::as_strided":
            sizes, strides = ([*_texts(concrete)[1:3], "", ""])[:2]
            if sizes and "0" in strides.strip("[]").replace(" ", "").split(","):
                views[code] = sizes
        elif operator == "aten::resize_" and (sizes := "".join(_texts(concrete)[1:2])):
            results[code] = sizes
    codes = _completed(trace, trace.operators["signature"], _INDEXED, views, _with_indices)
    codes = _completed(trace, codes, _SELECTING, results, _with_result)
    codes = _completed(trace, codes, _SPARSE_PRODUCTS, counts, _with_count)
    return _completed(trace, codes, frozenset({"aten::_coalesce"}), lengths, _with_count)


def _completed(
    trace: Trace,
    codes: pl.Series,
    operators: frozenset[str],
    texts: dict[int, str],
    complete: Callable[[Signature, str], Signature],
) -> pl.Series:
    """``codes`` of all operators, completed for ``operators`` by the text of the last call inside that has one."""
    outer = [code for code, signature in enumerate(trace.signatures) if signature[0] in operators] if texts else []
    if not outer:
        return codes
    spans = trace.operators.with_row_index("row").with_columns(end_ns=pl.col("start_ns") + pl.col("duration_ns"))
    inside = spans.filter(pl.col("signature").is_in(list(texts)))
    inside = inside.select("thread", "end_ns", inner="signature", inner_start_ns="start_ns").sort("end_ns")
    # the last one that ended before the operator did, if it also began inside it
    calls = (
        spans.filter(pl.col("signature").is_in(outer))
        .sort("end_ns")
        .join_asof(inside, on="end_ns", by="thread", check_sortedness=False)
        .filter(pl.col("inner_start_ns") >= pl.col("start_ns"))
    )
    pairs = calls.select("signature", "inner").unique(maintain_order=True).sort("signature", "inner")
    completed = [complete(trace.signatures[code], texts[inner]) for code, inner in pairs.rows()]
    pairs = pairs.with_columns(completed=_codes(trace, completed))
    calls = calls.join(pairs, on=["signature", "inner"], how="left", maintain_order="left")
    return codes.scatter(calls["row"], calls["completed"])


def _with_indices(signature: Signature, sizes: str) -> Signature:
    """The signature with the sizes of the indexed elements in the place of the indices."""
    operator, dims, types, strides, concrete = signature
    return operator, dims, types, strides, _replaced(concrete, _INDICES, sizes)


def _with_result(signature: Signature, sizes: str) -> Signature:
    """The signature with the result as its argument ``out``."""
    operator, dims, types, strides, concrete = signature
    lists = [json_list(text) for text in (dims, types, concrete)]
    shape = json_list(sizes)
    if shape is None or any(items is None or len(items) != _SELECTING_INPUTS[operator] for items in lists):
        return signature
    recorded, kinds, values = (items or [] for items in lists)
    kind = _POSITION if operator == "aten::nonzero" else kinds[0]
    texts = (msgspec.json.encode(items) for items in ([*recorded, shape], [*kinds, kind], [*values, ""]))
    dims, types, concrete = texts
    return operator, dims, types, strides, concrete


def _with_count(signature: Signature, count: str) -> Signature:
    """The signature with the number of elements that its sparse operand stores, if it has one."""
    if not count or not any(tensor.is_sparse for tensor in parse(signature).tensors):
        return signature
    return *signature[:4], with_object(signature[4], f'{{"stored": {count}}}'.encode())


def _codes(trace: Trace, signatures: Sequence[Signature]) -> pl.Series:
    """The code of each signature; new ones are added to the trace."""
    interned = Interned(trace.signatures)
    codes = pl.Series([interned[signature] for signature in signatures], dtype=pl.Int64)
    trace.signatures.extend(list(interned)[len(trace.signatures) :])
    return codes


def _replaced(concrete: bytes, position: int, text: str) -> bytes:
    """The concrete inputs with ``text`` at ``position``, unchanged if they are shorter."""
    values = _texts(concrete)
    if len(values) <= position:
        return concrete
    return msgspec.json.encode([*values[:position], text, *values[position + 1 :]])


def _texts(concrete: bytes) -> list[str]:
    """The concrete inputs, or an empty list if they do not have the profiler's form."""
    try:
        return msgspec.json.decode(concrete, type=list[str])
    except (msgspec.DecodeError, ValueError, RecursionError):
        return []


def completed_by(signature: Signature, kernel: str) -> Signature:
    """The signature of a collective with its kind and the element type of its list, from its kernel's name."""
    name, dims, types, strides, concrete = signature
    if match := _NCCL_ELEMENT.search(kernel):
        types = types.replace(b'"TensorList"', f'"TensorList {_NCCL_ELEMENTS[match[1]]}"'.encode())
    if name == RECORDER and (match := _COLLECTIVE.search(kernel)):
        values = _texts(concrete)
        # all-to-all, which needs the fewest bytes, is made of sends and receives too: what was recorded says more
        collective = match[1].replace("SendRecv", "AllToAll")
        if len(values) > NAME and kind(values[NAME]) is None:
            concrete = _replaced(concrete, NAME, collective)
        elif not concrete:  # as before torch 2.1
            concrete = with_object(b"", b'{"collective":"%s"}' % collective.encode())
    if match := _CUSTOM_RANKS.search(kernel):
        concrete = with_object(concrete, b'{"ranks":%d}' % int(match[1]))
    return (name, dims, types, strides, concrete)
