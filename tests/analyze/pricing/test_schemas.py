"""The table of schemas against the installed PyTorch, and calls matched by it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch

from ridgeline.analyze.pricing import make_schemas
from ridgeline.analyze.pricing.binding import bind
from ridgeline.analyze.pricing.schemas import NAMESPACE, Schema, schemas
from ridgeline.analyze.pricing.signature import parse
from tests.sampling import pick

ROOT = Path(__file__).parents[3]
RELEASES, TABLE = make_schemas.read()
INSTALLED = make_schemas.installed()
KINDS = {"number": "Scalar"}


def test_the_table_has_every_overload_of_the_installed_release() -> None:
    """A release that the table was made from is in it as a whole; of another one a few overloads may be new."""
    installed = set(chain.from_iterable(INSTALLED.values()))
    missing = installed - set(chain.from_iterable(TABLE.values()))
    assert len(installed) > 3_500
    assert len(missing) <= (0 if make_schemas.release() in RELEASES else len(installed) // 20), sorted(missing)


def test_traits_are_those_of_the_installed_release() -> None:
    """Traits are the newest release's; older ones differ in a few overloads."""
    differing = [
        (schema, traits, TABLE[name][schema])
        for name, overloads in INSTALLED.items()
        for schema, traits in overloads.items()
        if traits != TABLE.get(name, {}).get(schema, traits)
    ]
    assert len(differing) <= (0 if make_schemas.release() == RELEASES[0] else 80), differing


def overload_of(schema: Schema) -> Any:
    """PyTorch's overload of that name, None if it has none."""
    name, _, overload = schema.full_name.removeprefix(NAMESPACE).partition(".")
    return getattr(getattr(torch.ops.aten, name, None), overload or "default", None)


def kind_of(type_: str) -> str:
    """PyTorch's name of a type as the table's: ``Optional[List[int]]`` is ``int[]?``."""
    if match := re.fullmatch(r"(Optional|List)\[(.*)\]", type_):
        return kind_of(match[2]) + {"Optional": "?", "List": "[]"}[match[1]]
    return KINDS.get(type_, type_)


def test_parsed_schemas_are_those_of_pytorch() -> None:
    every, compared = pick(12, 1), 0
    pairs = (
        (schema, text)
        for name in list(INSTALLED)[::every]
        for schema, text in zip(schemas(name), TABLE[name], strict=True)
    )
    for schema, text in pairs:
        overload = overload_of(schema)
        if overload is None or str(overload._schema) != f"{NAMESPACE}{text}":  # another release's
            continue
        theirs = overload._schema
        compared += 1
        for argument, real in zip(schema.arguments, theirs.arguments, strict=True):
            assert argument.name == real.name
            if not re.search(r"(Tuple|Dict|RRef|Future)\[", str(real.type)):  # no tensor operator takes these
                assert argument.kind == kind_of(str(real.type)), theirs
            assert argument.has_default == (real.default_value is not None), theirs
            assert argument.is_out == real.is_out, theirs
            assert argument.is_written == (real.alias_info is not None and real.alias_info.is_write), theirs
        aliases = [result.alias_info for result in theirs.returns]
        only_views = bool(aliases) and all(alias is not None and not alias.is_write for alias in aliases)
        assert schema.is_view == (only_views or torch.Tag.inplace_view in overload.tags), theirs
        assert schema.returns_list == any("List" in str(result.type) for result in theirs.returns), theirs
    assert compared > 3_000 // every


@pytest.mark.parametrize(
    ("operator", "inputs", "full_name"),
    [
        ("aten::add", [([4], "float", ""), ([4], "float", ""), ([], "Scalar", "1")], "aten::add.Tensor"),
        ("aten::add", [([4], "float", ""), ([], "Scalar", "2"), ([], "Scalar", "1")], "aten::add.Scalar"),
        ("aten::add_", [([4], "float", ""), ([], "float", ""), ([], "Scalar", "1")], "aten::add_.Tensor"),
        ("aten::sum", [([4, 4], "float", ""), ([], "ScalarList", "[0]"), ([], "Scalar", "False"), ([], "", "")],
         "aten::sum.dim_IntList"),
        ("aten::cat", [([[4], [4]], "TensorList", ""), ([], "Scalar", "0")], "aten::cat"),
        ("aten::einsum", [([], "", ""), ([[4], [4]], "TensorList", ""), ([], "", "")], "aten::einsum"),
        ("aten::mm.default", [([4, 4], "float", ""), ([4, 4], "float", "")], "aten::mm"),
        ("aten::mul.Tensor", [([4], "float", ""), ([4], "float", "")], "aten::mul.Tensor"),
        # an undefined gradient
        ("aten::mul", [([4], "float", ""), ([], "", "")], "aten::mul.Tensor"),
        ("aten::mm", [([], "", ""), ([4, 4], "float", "")], None),
        ("aten::mul.Nonsense", [([4], "float", ""), ([4], "float", "")], None),
        ("aten::nonsense", [([4], "float", "")], None),
        ("aten::__class__", [([4], "float", "")], None),
        ("mylib::add", [([4], "float", ""), ([4], "float", "")], None),
    ],
)  # fmt: skip
def test_a_call_is_matched(operator: str, inputs: list[tuple[Any, str, str]], full_name: str | None) -> None:
    dims, types, concrete = (json.dumps(list(column)).encode() for column in zip(*inputs, strict=True))
    bound = bind(parse((operator, dims, types, b"", concrete)))
    assert (bound and bound.full_name) == full_name


@pytest.mark.process
def test_matching_imports_no_torch() -> None:
    program = (
        "import sys; from ridgeline.analyze.pricing.binding import bind;"
        "from ridgeline.analyze.pricing.signature import parse;"
        "assert bind(parse(('aten::relu', b'[[4]]', b'[\"float\"]', b'', b'[\"\"]')));"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
