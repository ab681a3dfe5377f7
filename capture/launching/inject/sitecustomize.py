"""Python runs this module at start-up in a program under `ridgeline record`: it waits for the program to import torch.

It runs in any Python environment, so it imports nothing beyond the standard library, and it never fails: whatever is
wrong is one line on stderr, and the program runs unrecorded.
"""

from __future__ import annotations

import atexit
import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_FOLDER = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 -- without importing pathlib
_PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(_FOLDER)))  # noqa: PTH120


class _Waiting:
    """A finder that finds nothing itself: it has the recorder started when the module `torch` has been imported."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        loader = spec and spec.loader
        if loader is not None and hasattr(loader, "exec_module"):
            execute = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                vars(loader).pop("exec_module", None)
                execute(module)
                _start()

            vars(loader)["exec_module"] = exec_module
        return spec


def _start() -> None:
    try:
        _import_package()
        from ridgeline.capture.launching import process

        process.start()
    except Exception as error:
        line = f"ridgeline: the program runs unrecorded: {type(error).__name__}: {error}"
        with suppress(Exception):  # stderr is closed
            print(" ".join(line.split()), file=sys.stderr, flush=True)


def _end() -> None:
    """Say that the program did not import torch, if it is the launched one and no child of it was recorded."""
    if _waiting in sys.meta_path:
        with suppress(Exception):
            _import_package()
            from ridgeline.capture.launching import nothing, options

            nothing.explain(options.Options.read(os.environ), nothing.NO_TORCH)


def _import_package() -> None:
    """Import ridgeline by its location: on sys.path, the folder above would offer other packages to the program."""
    place = os.path.join(_PACKAGE, "__init__.py")  # noqa: PTH118
    there = importlib.util.find_spec("ridgeline")
    if there is not None and not (there.origin and os.path.samefile(there.origin, place)):  # noqa: PTH121
        raise ImportError(f"the program has another module named ridgeline, {there.origin}; rename it to be recorded")
    if "ridgeline" in sys.modules:
        return
    spec = importlib.util.spec_from_file_location("ridgeline", place, submodule_search_locations=[_PACKAGE])
    if spec is None or spec.loader is None:
        raise ImportError(f"no package at {_PACKAGE}")
    sys.modules["ridgeline"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


def _chain() -> None:
    """Run the `sitecustomize` that this one hides, and leave sys.path as the program would have it."""
    sys.path[:] = [folder for folder in sys.path if os.path.abspath(folder) != _FOLDER]  # noqa: PTH100
    this = sys.modules.pop("sitecustomize", None)
    try:
        importlib.import_module("sitecustomize")
    except ImportError as error:
        if error.name != "sitecustomize":
            raise
        if this is not None:
            sys.modules["sitecustomize"] = this


_waiting = _Waiting()
sys.meta_path.insert(0, _waiting)
atexit.register(_end)
_chain()
