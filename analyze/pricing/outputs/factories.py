"""New tensors, and copies in another type."""

from __future__ import annotations

import math

from ridgeline.analyze.pricing.outputs.calls import (
    OutputRule,
    Result,
    check,
    dense,
    integer,
    integers,
    like,
    table,
)
from ridgeline.analyze.pricing.outputs.dtypes import scalar_category
from ridgeline.analyze.pricing.outputs.pointwise import combined
from ridgeline.analyze.pricing.outputs.reductions import asked_dtype
from ridgeline.analyze.pricing.signature import Arguments, Tensor


def _sized(default: str) -> OutputRule:
    """A tensor of the recorded ``size``."""
    return lambda call: [dense(integers(call, "size"), asked_dtype(call, default))]


def _new(call: Arguments) -> Result:
    return [dense(integers(call, "size"), asked_dtype(call, call.needed("self").precision))]


def _alike(call: Arguments) -> Result:
    """The shape and memory format of self, in the ``dtype`` if there is one."""
    self = call.needed("self")
    return [like(self, asked_dtype(call, self.precision))]


def _strided(call: Arguments) -> Result:
    sizes, strides = integers(call, "size"), integers(call, "stride")
    check(len(sizes) == len(strides) and all(n >= 0 for n in (*sizes, *strides)))
    self = call.tensor("self")
    element = dense((), asked_dtype(call, self.precision if self else "fp32"))
    return [Tensor(tuple(sizes), tuple(strides), element.precision, element.item_bytes)]


def _of_value(name: str) -> OutputRule:
    """Filled with a number, of its type: whole numbers have 64 bits, others single precision."""

    def outputs(call: Arguments) -> Result:
        value = call.arguments.get(name)
        if value is None:
            raise ValueError(f"the argument {name} is not recorded")
        category = scalar_category(value) if isinstance(value, str) else 1
        sizes = integers(call, "size") if name == "fill_value" else []
        return [dense(sizes, asked_dtype(call, ("bool", "int64", "fp32", "complex64")[category]))]

    return outputs


def _scalar(call: Arguments) -> Result:
    if call.arguments.get("s") is None:
        raise ValueError("the argument s is not recorded")
    return [dense((), asked_dtype(call, "fp32"))]


def _number(call: Arguments, name: str, default: str) -> float:
    """A recorded number; one recorded as a tensor counts 1, as it does for the meta device."""
    value = call.arguments.get(name, default)
    if value is None:
        value = default
    if isinstance(value, Tensor):
        return 1.0
    check(isinstance(value, str))
    check(scalar_category(str(value)) < 3)
    number = float({"True": "1", "False": "0"}.get(str(value), str(value)))
    check(math.isfinite(number))
    return number


def _range(call: Arguments) -> Result:
    """Numbers from start to end; the end is left out."""
    if call.arguments.get("end") is None:
        raise ValueError("the argument end is not recorded")
    start, end, step = (_number(call, name, default) for name, default in (("start", "0"), ("end", ""), ("step", "1")))
    check(step != 0 and (end - start) / step >= 0)
    texts = [call.arguments.get(name) for name in ("start", "end", "step")]
    whole = all(not isinstance(text, str) or scalar_category(text) <= 1 for text in texts)
    if whole:
        first, last, by = (integer(call, name, default) for name, default in (("start", 0), ("end", None), ("step", 1)))
        count = -(-(last - first) // by)
    else:
        count = math.ceil((end - start) / step)
    return [dense((count,), asked_dtype(call, "int64" if whole else "fp32"))]


def _steps(call: Arguments) -> Result:
    for name in ("start", "end"):
        _number(call, name, "0")
    return [dense((integer(call, "steps"),), asked_dtype(call, "fp32"))]


def _identity(call: Arguments) -> Result:
    n = integer(call, "n")
    return [dense((n, integer(call, "m") if "m" in call.arguments else n), asked_dtype(call, "fp32"))]


def _window(call: Arguments) -> Result:
    return [dense((integer(call, "window_length"),), asked_dtype(call, "fp32"))]


def _triangle(upper: bool) -> OutputRule:
    """Row and column of each element on one side of a diagonal."""

    def outputs(call: Arguments) -> Result:
        height, width = integer(call, "row"), integer(call, "col")
        offset = integer(call, "offset", 0)
        check(height >= 0 and width >= 0 and height <= 1 << 16)
        below = sum(min(max(i + offset + (0 if upper else 1), 0), width) for i in range(height))
        count = height * width - below if upper else below
        return [dense((2, count), asked_dtype(call, "int64"))]

    return outputs


def _frequencies(half: bool) -> OutputRule:
    def outputs(call: Arguments) -> Result:
        n = integer(call, "n")
        return [dense((n // 2 + 1 if half else n,), asked_dtype(call, "fp32"))]

    return outputs


def _converted(call: Arguments) -> Result:
    """In the recorded type, or that of another tensor; self itself if nothing changes."""
    self, other = call.needed("self"), call.tensor("other")
    precision = other.precision if other else asked_dtype(call, self.precision)
    return [self if precision == self.precision and not call.flag("copy") else like(self, precision)]


def _copied(call: Arguments) -> Result:
    """``copy_``: the source broadcasts to self."""
    return [call.needed("self")]


def _resized(call: Arguments) -> Result:
    template = call.tensor("the_template")
    return [dense(template.shape if template else integers(call, "size"), call.needed("self").precision)]


def _set(call: Arguments) -> Result:
    """``set``: the source's elements, or none."""
    if source := call.tensor("source"):
        return [source]
    sizes = integers(call, "size") if "size" in call.arguments else [0]
    return [dense(sizes, call.needed("self").precision)]


def _normal(call: Arguments) -> Result:
    if self := call.tensor("self"):
        return [self]
    tensors = call.tensors("mean", "std")
    if not tensors:
        return [dense(integers(call, "size"), asked_dtype(call, "fp32"))]
    return [combined(tensors, tensors[0].precision)]


RULES = table(
    ("empty zeros ones rand randn _efficientzerotensor", _sized("fp32")),
    ("empty_permuted", lambda call: [dense(integers(call, "size"), asked_dtype(call, "fp32"))]),
    ("randint", _sized("int64")),
    ("randperm", lambda call: [dense((integer(call, "n"),), asked_dtype(call, "int64"))]),
    ("empty_strided new_empty_strided", _strided),
    ("new_empty new_zeros new_ones new_full", _new),
    ("empty_like zeros_like ones_like full_like rand_like randn_like randint_like", _alike),
    ("clone _to_copy _lazy_clone", _alike),
    ("full", _of_value("fill_value")),
    ("scalar_tensor", _scalar),
    ("arange", _range),
    ("linspace logspace", _steps),
    ("eye", _identity),
    ("bartlett_window blackman_window hamming_window hann_window kaiser_window", _window),
    ("tril_indices", _triangle(upper=False)),
    ("triu_indices", _triangle(upper=True)),
    ("fft_fftfreq", _frequencies(half=False)),
    ("fft_rfftfreq", _frequencies(half=True)),
    ("to type_as", _converted),
    ("copy", _copied),
    ("resize resize_as _resize_output", _resized),
    ("set", _set),
    ("normal", _normal),
    ("_reshape_copy", lambda call: [dense(integers(call, "size"), call.needed("self").precision)]),
    ("_dim_arange", lambda call: [dense((call.needed("like").shape[integer(call, "dim")],), "int64")]),
    ("_amp_update_scale", lambda call: [call.needed("self"), call.needed("growth_tracker")]),
)
