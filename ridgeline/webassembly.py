"""C compiled to WebAssembly: the modules ``X.wasm`` that stand beside their source ``X.c``.

After a change of a source, ``make wasm`` installs ziglang and compiles all modules. The last section of a module is the
SHA-256 of its source: a test compares the two.
"""

from __future__ import annotations

import atexit
import hashlib
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ridgeline import IMPORT_ROOT

if TYPE_CHECKING:
    import wasmtime

SOURCES = {
    "analyze/cache_model/l2.c": ("-Os", 256 << 20),
    "analyze/reading/scanning/scan.c": ("-O3 -msimd128", 1 << 30),
}
"""How each module is optimized, and its most memory in bytes."""
_TARGET = ("--target=wasm32-freestanding", "-mbulk-memory", "-nostdlib")
_OPTIONS = ("-Wall", "-Wextra", "-Werror", "-Wl,--no-entry", "-Wl,--strip-all")


@cache
def load(module: Path) -> tuple[wasmtime.Engine, wasmtime.Module]:
    """Return an engine and the module for it. Importing wasmtime takes 30 ms, compiling what is not cached 15 ms."""
    import wasmtime

    config = wasmtime.Config()
    with suppress(wasmtime.WasmtimeError):  # the user has no folder for caches
        config.cache = True  # of compiled modules
    engine = wasmtime.Engine(config)
    loaded = wasmtime.Module(engine, module.read_bytes())
    # After the interpreter's end they could not be freed.
    atexit.register(engine.close)
    atexit.register(loaded.close)
    return engine, loaded


def instance(module: Path) -> tuple[wasmtime.Store, Any]:
    """Return the exports of a new instance of the module, and the store that they are called with."""
    import wasmtime

    engine, loaded = load(module)
    store = wasmtime.Store(engine)
    return store, wasmtime.Instance(store, loaded, []).exports(store)


def build(name: str, target: Path) -> None:
    """Write the module of a source with its digest. Raises ``CalledProcessError`` if the source has an error."""
    import subprocess  # decoder processes import this module, and compile nothing
    import tempfile

    source, (optimization, most_memory_bytes) = IMPORT_ROOT / "ridgeline" / name, SOURCES[name]
    with tempfile.TemporaryDirectory() as folder:
        module = Path(folder) / target.name
        options = (*_TARGET, *optimization.split(), *_OPTIONS, f"-Wl,--max-memory={most_memory_bytes}")
        command = [sys.executable, "-m", "ziglang", "cc", *options, "-o", str(module), str(source)]
        subprocess.run(command, check=True)
        # A custom section: its number 0, its length, the length of its name, its name, its content.
        content = b"\6source" + digest(source).encode()
        target.write_bytes(module.read_bytes() + bytes([0, len(content)]) + content)


def digest(source: Path) -> str:
    """Return what a module that was compiled from the source ends with."""
    return hashlib.sha256(source.read_bytes()).hexdigest()


if __name__ == "__main__":
    for name in SOURCES:
        build(name, (IMPORT_ROOT / "ridgeline" / name).with_suffix(".wasm"))
