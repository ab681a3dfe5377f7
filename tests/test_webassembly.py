"""The modules of WebAssembly that are checked in, against their sources."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from ridgeline import IMPORT_ROOT, webassembly
from ridgeline.webassembly import SOURCES, build, digest


def test_every_source_has_a_module() -> None:
    folder = IMPORT_ROOT / "ridgeline"
    assert {str(source.relative_to(folder)) for source in folder.glob("analyze/**/*.c")} == SOURCES.keys()


@pytest.mark.parametrize("name", SOURCES)
def test_modules_are_compiled_from_their_sources(name: str) -> None:
    source = IMPORT_ROOT / "ridgeline" / name
    assert digest(source).encode() in source.with_suffix(".wasm").read_bytes(), "run make wasm"


@pytest.mark.process
@pytest.mark.skipif(find_spec("ziglang") is None, reason="ziglang, which compiles the modules, is not installed")
@pytest.mark.parametrize("name", SOURCES)
def test_modules_can_be_compiled_again(tmp_path: Path, name: str) -> None:
    build(name, tmp_path / "built.wasm")
    assert (tmp_path / "built.wasm").read_bytes() == (IMPORT_ROOT / "ridgeline" / name).with_suffix(
        ".wasm"
    ).read_bytes()


def test_instances_share_nothing() -> None:
    path = IMPORT_ROOT / "ridgeline" / "analyze/reading/scanning/scan.wasm"
    (one, exports), (other, others) = webassembly.instance(path), webassembly.instance(path)
    place = exports["reserve"](one, 4)
    exports["memory"].write(one, b"mine", place)
    assert others["memory"].read(other, place, place + 4) == bytes(4)
