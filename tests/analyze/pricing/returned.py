"""Prices against what operators really return, change and depend on: `python -m tests.analyze.pricing.returned`.

PyTorch's own samples of operators (``torch.testing``'s ``op_db``) run on small CPU tensors, forward and backward. Every
operator of ``aten`` that they call is priced from the record that the profiler would make of it, and

- the bytes written must be those of the new tensors that came back and of the arguments that it changes;
- the bytes read must be those of the tensors on whose values the results depend: other values give other results.

An operator that touches part of a tensor (:data:`PARTIAL`) must stay within these.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import types
import unittest
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from ridgeline.analyze.pricing.cost import Price
from ridgeline.analyze.pricing.price import price
from ridgeline.analyze.pricing.signature import Tensor, parse

_TYPE_NAMES = {
    torch.float32: "float", torch.float64: "double", torch.bfloat16: "c10::BFloat16", torch.float16: "c10::Half",
    torch.int64: "long int", torch.int32: "int", torch.int16: "short", torch.int8: "signed char",
    torch.uint8: "unsigned char", torch.bool: "bool", torch.complex64: "c10::complex<float>",
    torch.complex128: "c10::complex<double>",
}  # fmt: skip
_DTYPE_CODES = (
    torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.float32, torch.float64,
    torch.complex32, torch.complex64, torch.complex128, torch.bool, None, None, None, torch.bfloat16,
)  # fmt: skip
_SAMPLES = 3
"""Samples of each operator of the database."""
PARTIAL = frozenset(
    {
        "index", "index_select", "gather", "take", "embedding", "index_put", "_index_put_impl", "index_copy",
        "index_add", "index_fill", "index_reduce", "scatter", "scatter_add", "scatter_reduce", "put",
        "nll_loss_forward", "nll_loss_backward", "nll_loss2d_forward", "nll_loss2d_backward", "_embedding_bag",
        "_embedding_bag_forward_only", "embedding_dense_backward", "_embedding_bag_dense_backward",
        "grid_sampler_2d", "grid_sampler_3d", "grid_sampler_2d_backward", "grid_sampler_3d_backward",
    }
)  # fmt: skip
"""Operators that read or write some of a tensor's elements."""
ALLOCATIONS = frozenset(
    {
        "empty", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided", "resize",
        "resize_as", "squeeze", "transpose", "unsqueeze", "t",
    }
)  # fmt: skip
"""Operators whose results have no values, and views in place."""
GOOD = ("view", "composite", "exact", "within")


def database() -> list[Any]:
    """PyTorch's samples of operators. Its test utilities import ``expecttest``, of which samples need nothing."""
    if importlib.util.find_spec("expecttest") is None:
        stub: Any = types.ModuleType("expecttest")
        stub.TestCase, stub.assert_expected_inline = unittest.TestCase, None
        sys.modules["expecttest"] = stub
    from torch.testing._internal.common_methods_invocations import op_db

    return list(op_db)


def recorded(overload: Any, arguments: dict[str, Any]) -> tuple[str, bytes, bytes, bytes, bytes]:
    """The signature that the profiler would record of a call, with the element types of lists."""
    rows = [_recorded(arguments.get(a.name, a.default_value)) for a in overload._schema.arguments]
    dims, kinds, strides, values = ([row[i] for row in rows] for i in range(4))
    return (
        str(overload._schema.name),
        json.dumps(dims).encode(),
        json.dumps(kinds).encode(),
        json.dumps(strides).encode(),
        json.dumps(values).encode(),
    )


def _recorded(value: Any) -> tuple[Any, str, Any, str]:
    """Sizes, type, strides and text of an argument."""
    if isinstance(value, torch.Tensor):
        return list(value.shape), _TYPE_NAMES.get(value.dtype, "unknown"), list(value.stride()), ""
    if isinstance(value, list | tuple) and value and all(isinstance(item, torch.Tensor) for item in value):
        kind = f"TensorList {_TYPE_NAMES.get(value[0].dtype, 'unknown')}"
        return [list(item.shape) for item in value], kind, [list(item.stride()) for item in value], ""
    if isinstance(value, list | tuple) and not any(isinstance(item, torch.Tensor | type(None)) for item in value):
        return [], "ScalarList", [], f"[{', '.join(map(str, value))}]"
    if isinstance(value, torch.dtype):
        return [], "Scalar", [], str(_DTYPE_CODES.index(value)) if value in _DTYPE_CODES else "99"
    if isinstance(value, bool | int | float | complex):
        return [], "Scalar", [], str(value)
    return [], "", [], ""


def tensors(value: Any) -> Iterator[torch.Tensor]:
    """The tensors of an argument or a result."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors(item)


def distinct_bytes(values: list[torch.Tensor]) -> int:
    """Bytes of the tensors' distinct elements; the same tensor counts once."""
    once = {(t.data_ptr(), t.shape, t.stride()): t for t in values}
    sizes = (Tensor(tuple(t.shape), tuple(t.stride()), "", t.element_size()) for t in once.values())
    return sum(tensor.distinct_bytes for tensor in sizes)


Other = Callable[[torch.Tensor], torch.Tensor]
OTHERS: tuple[Other, ...] = (
    lambda t: (
        t * -0.7 + 0.3 if _is_real(t) else t.logical_not() if t.dtype == torch.bool else t.flip([*range(t.dim())])
    ),
    lambda t: torch.zeros_like(t) if t.any() else torch.ones_like(t),
    lambda t: torch.full_like(t, float("inf")) if t.is_floating_point() else torch.ones_like(t) - t.clamp(0, 1),
    lambda t: torch.full_like(t, float("nan")) if t.is_floating_point() else t.roll(1),
)
"""Other values for a tensor; an operator that depends on none of them reads no values."""


def _is_real(tensor: torch.Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _copied(
    value: Any, changed: torch.Tensor | None = None, other: Callable[[torch.Tensor], torch.Tensor] = OTHERS[0]
) -> Any:
    """A copy of an argument, with other values in the tensor ``changed``."""
    if isinstance(value, torch.Tensor):
        copy = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype)
        # elements of an expanded dimension are one
        once = tuple(slice(None if stride else 1) for stride in value.stride())
        copy[once].copy_((other(value) if value is changed else value)[once])
        return copy
    return [_copied(item, changed, other) for item in value] if isinstance(value, list | tuple) else value


def _run(overload: Any, arguments: dict[str, Any]) -> list[torch.Tensor] | None:
    torch.manual_seed(0)
    try:
        result = overload(**arguments)
    except Exception:  # other values may not be allowed
        return None
    written = [t for a in overload._schema.arguments if _is_written(a) for t in tensors(arguments.get(a.name))]
    numbers = [torch.tensor(result)] if isinstance(result, bool | int | float | complex) else []
    return [t.detach().clone() for t in (*tensors(result), *written, *numbers)]


def _is_written(argument: Any) -> bool:
    return argument.alias_info is not None and argument.alias_info.is_write


def depends(overload: Any, arguments: dict[str, Any], changed: torch.Tensor) -> bool:
    """Whether the results depend on the values of a tensor, or the call allows no others."""
    first = _run(overload, {name: _copied(value) for name, value in arguments.items()})
    for other in OTHERS:
        second = _run(overload, {name: _copied(value, changed, other) for name, value in arguments.items()})
        if first is None or second is None or not all(map(_is_same, first, second)):
            return True
    return False


def _is_same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return (
        a.shape == b.shape
        and torch.equal(torch.isnan(a), torch.isnan(b))
        and torch.equal(a.nan_to_num(), b.nan_to_num())
    )


class Check:
    """How often the price of each operator agrees with what its calls do."""

    def __init__(self) -> None:
        self.counts: dict[str, Counter[str]] = {}
        self.examples: dict[tuple[str, str], Any] = {}
        self.flops: dict[str, set[tuple[float | None, int]]] = {}
        """Our FLOPs and FlopCounterMode's, of each operator that it counts."""

    def call(self, overload: Any, arguments: dict[str, Any]) -> None:
        """Run a call on copies of its arguments, price it, and count how the price agrees."""
        asked = recorded(overload, arguments)
        found = price(parse(asked))
        copies = {name: _copied(value) for name, value in arguments.items()}
        result = overload(**copies)
        inputs = [t for value in arguments.values() for t in tensors(value)]
        after = [t for value in copies.values() for t in tensors(value)]
        changed = [t for t, old in zip(after, inputs, strict=True) if not _is_same(t, old)]
        changed += [t for a in overload._schema.arguments if _is_written(a) for t in tensors(copies.get(a.name))]
        if not any(t.numel() for t in tensors(result)) and list(tensors(result)):
            return
        if copies.get("momentum") == 0:  # statistics are written and stay the same
            return
        if counted := flop_registry.get(overload._overloadpacket):
            theirs = int(counted(*copies.values(), out_val=result))
            self.flops.setdefault(overload._schema.name.removeprefix("aten::"), set()).add((found.flops, theirs))
        storages = {t.untyped_storage().data_ptr() for t in after}
        fresh = [t for t in tensors(result) if t.untyped_storage().data_ptr() not in storages]
        is_view = not fresh and not changed and bool(list(tensors(result)))
        verdict = self.verdict(overload, arguments, [*fresh, *changed], found, is_view=is_view)
        name = overload._schema.name.removeprefix("aten::")
        self.counts.setdefault(name, Counter())[verdict] += 1
        self.examples.setdefault((name, verdict), (asked, found))

    def verdict(
        self, overload: Any, arguments: dict[str, Any], made: list[torch.Tensor], found: Price, *, is_view: bool
    ) -> str:
        """``view``, ``composite``, ``low``, ``exact``, ``within``, or what is wrong; ``made`` has new values."""
        if found.composite:
            return "composite"
        if found.confidence == "low" or found.read_bytes is None or found.write_bytes is None:
            return "low"
        base = overload._schema.name.removeprefix("aten::").rstrip("_")
        if base in ALLOCATIONS or is_view:
            return "view" if found.read_bytes == found.write_bytes == 0 else f"view, {found[1:3]}"
        inputs = [t for value in arguments.values() for t in tensors(value)]
        written = distinct_bytes(made)
        read = distinct_bytes([t for t in inputs if t.numel() and depends(overload, arguments, t)])
        if (found.read_bytes, found.write_bytes) == (read, written):
            return "exact"
        if base in PARTIAL:
            within = found.read_bytes <= distinct_bytes(inputs) and found.write_bytes <= written
            return "within" if within else "beyond"
        return "reads" if found.write_bytes == written else "writes"

    def verdicts(self) -> dict[str, str]:
        """The worst verdict on each operator's calls. A read counts as shown if other values show it in one call."""
        worst = {}
        for name, counts in sorted(self.counts.items()):
            wrong = [v for v in counts if v not in GOOD and not (v == "reads" and counts.keys() & {"exact", "within"})]
            worst[name] = wrong[0] if wrong else counts.most_common(1)[0][0]
        return worst


def _is_plain(tensor: torch.Tensor) -> bool:
    return tensor.layout == torch.strided and type(tensor) in (torch.Tensor, torch.nn.Parameter)


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Gives every call of an ``aten`` operator to a check."""

    def __init__(self, check: Check) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.check = check

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        names = [argument.name for argument in func._schema.arguments]
        arguments = {**dict(zip(names, args, strict=False)), **(kwargs or {})}
        before = [t for value in arguments.values() for t in tensors(value)]
        plain = func.namespace == "aten" and all(_is_plain(t) for t in before)
        kept = {name: _copied(value) for name, value in arguments.items()} if plain else {}
        result = func(*args, **(kwargs or {}))
        if plain and all(map(_is_plain, tensors(result))):
            state = torch.get_rng_state()
            self.check.call(func, kept)
            torch.set_rng_state(state)
        return result


def check(samples: int = _SAMPLES, every: int = 1) -> Check:
    """Run every nth operator of the database on its first ``samples``, forward and backward."""
    found = Check()
    for operator in database()[::every]:
        if torch.float32 not in operator.dtypes:
            continue
        try:
            calls = operator.sample_inputs("cpu", torch.float32, requires_grad=operator.supports_autograd)
            for sample, _ in zip(calls, range(samples), strict=False):
                with Recorder(found), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    results = list(tensors(operator(sample.input, *sample.args, **sample.kwargs)))
                    sums = [r.abs().sum() if r.is_complex() else r.sum() for r in results if r.requires_grad]
                    if sums:
                        torch.stack([s.double() for s in sums]).sum().backward()  # type: ignore[no-untyped-call]
        except Exception:
            continue  # this build does not run the sample
    return found


def main() -> None:
    """Print a row for each verdict, and on stderr the operators that did not agree."""
    found = check()
    verdicts = found.verdicts()
    for name, verdict in verdicts.items():
        if verdict not in GOOD:
            print(name, dict(found.counts[name]), *found.examples[name, verdict], file=sys.stderr)
    for verdict, count in Counter(verdicts.values()).most_common():
        print(f"| {verdict} | {count} | {count / len(verdicts):.0%} |")


if __name__ == "__main__":
    main()
