"""Write the table of schemas: ``python -m ridgeline.analyze.pricing.make_schemas`` (``make schemas``).

The installed PyTorch's overloads are merged into the table: run it once with each release. Where releases differ in
an overload, the table has each schema, the newest release's first, with the traits of the newest that has it.
Overloads that take names of dimensions are left out: a recorded number would fit a name, and PyTorch 2.13 has none.
"""

from __future__ import annotations

import re

import torch

from ridgeline.analyze.pricing.schemas import NAMESPACE, TABLE

Table = dict[str, dict[str, str]]
"""By operator the traits of each overload, by its schema without the namespace."""
_HEADER = "torch "
_ANSWERING = "Meta", "CompositeExplicitAutograd", "CompositeExplicitAutogradNonFunctional", "CompositeImplicitAutograd"
"""Dispatch keys of kernels that accept tensors on the meta device, which have no data."""
_NAMES = re.compile(r"\bstr(\[\d*\])?\?? (\w*dim\w*|names|order)\b")


def installed() -> Table:
    """Return the schemas of the installed PyTorch, in its order."""
    names = {schema.name for schema in torch._C._jit_get_all_schemas() if schema.name.startswith(NAMESPACE)}
    table: Table = {}
    for name in sorted(name.removeprefix(NAMESPACE) for name in names):
        packet = getattr(torch.ops.aten, name)
        overloads = (getattr(packet, overload) for overload in packet.overloads())
        lines = {str(overload._schema).removeprefix(NAMESPACE): _traits(overload) for overload in overloads}
        if lines := {schema: traits for schema, traits in lines.items() if not _NAMES.search(schema)}:
            table[name] = lines
    return table


def _traits(overload: torch._ops.OpOverload) -> str:
    """Return the letters of :data:`ridgeline.analyze.pricing.schemas.TRAITS`, or ``-`` for none."""
    schema = overload._schema
    name = f"{schema.name}.{schema.overload_name}" if schema.overload_name else schema.name
    has_kernel = torch._C._dispatch_has_kernel(name)
    letters = {
        "k": has_kernel,
        # the dispatcher does not know operators of TorchScript
        "c": has_kernel and torch._C._dispatch_has_kernel_for_dispatch_key(name, "CompositeImplicitAutograd"),
        "m": has_kernel and any(torch._C._dispatch_has_kernel_for_dispatch_key(name, key) for key in _ANSWERING),
        "p": torch.Tag.pointwise in overload.tags,
        "v": torch.Tag.inplace_view in overload.tags,
    }
    return "".join(letter for letter, holds in letters.items() if holds) or "-"


def read() -> tuple[list[str], Table]:
    """Return the table's releases, newest first, and its schemas; nothing if there is no table."""
    if not TABLE.exists():
        return [], {}
    header, *lines = TABLE.read_text().splitlines()
    table: Table = {}
    for line in lines:
        traits, _, schema = line.partition(" ")
        table.setdefault(schema.partition("(")[0].partition(".")[0], {})[schema] = traits
    return header.removeprefix(_HEADER).split(", "), table


def release() -> str:
    """Return the installed PyTorch's release, as ``2.13.0``."""
    return str(torch.__version__).partition("+")[0]


def _age(name: str) -> tuple[int, ...]:
    return tuple(map(int, name.split(".")))


def main() -> None:
    """Merge the installed PyTorch's schemas into the table."""
    releases, table = read()
    is_newest = all(_age(release()) >= _age(other) for other in releases)
    first, last = (installed(), table) if is_newest else (table, installed())
    # `|` keeps the order of the left side, and the traits of the right one
    merged = [first.get(name, {}) | last.get(name, {}) | first.get(name, {}) for name in sorted({*first, *last})]
    releases = sorted({*releases, release()}, key=_age, reverse=True)
    lines = (f"{traits} {schema}" for overloads in merged for schema, traits in overloads.items())
    TABLE.write_text("\n".join([_HEADER + ", ".join(releases), *lines, ""]))


if __name__ == "__main__":
    main()
