"""Loads a decoding mode of one's own, named `package.module:Start` in a configuration, and checks what it offers."""

import importlib
import inspect
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from ridgeline.capture.configuration.point import Point
from ridgeline.capture.configuration.values import nearest
from ridgeline.capture.errors import ConfigError
from ridgeline.capture.steps import Step

Start = Callable[..., Any]
"""Called with a decoder, a point and labels; returns a generation with the MEMBERS."""

MEMBERS = (
    "steps", "reset", "place", "work", "learn", "finished", "cache_bytes", "logits_bytes", "committed",
)  # fmt: skip
"""What a generation has. `modes/README.md` documents each; a subclass of `Generation` inherits all but `work`."""


def load(mode: str, folder: str) -> Start:
    """Return the object that `mode` names, from a module in `folder`, else from one on `sys.path`.

    Raises ConfigError for a module that is missing or cannot be imported, and for a name that cannot start generations.
    """
    name, _, attribute = mode.partition(":")
    module = _module(name, folder, where=f'mode = "{mode}"')
    start = getattr(module, attribute, None)
    if start is None:
        public = [each for each in vars(module) if not each.startswith("_")]
        near = nearest(attribute, public)
        hint = f" (nearest: {near})" if near else ""
        raise ConfigError(f'mode = "{mode}": {name} has no {attribute}; expected a class or a function{hint}.')
    if not callable(start):
        raise ConfigError(f'mode = "{mode}" is {_kind(start)}; expected a class or a function.')
    try:
        inspect.signature(start).bind(None, None, None)
    except TypeError:
        raise ConfigError(
            f'mode = "{mode}" takes {inspect.signature(start)}; expected three arguments: decoder, point and labels.'
        ) from None
    except ValueError:  # an object without a signature may still take them
        pass
    return cast(Start, start)


def begin(decoder: Any, point: Point, labels: Any) -> Any:
    """Return a generation of `point` by the mode of one's own that the point names.

    Raises ConfigError for a generation without all MEMBERS, and for steps that cannot run in their order.
    """
    generation = load(point.mode, point.folder)(decoder, point, labels)
    # Not hasattr, which would compute `committed`.
    missing = [name for name in MEMBERS if name not in dir(generation)]
    if missing:
        raise ConfigError(
            f'mode = "{point.mode}" returned {_kind(generation)} without {", ".join(missing)}; '
            "expected a Generation: see capture/modes/README.md."
        )
    checked(point, generation.steps)
    return generation


def planned(point: Point) -> list[Step] | None:
    """Return the steps of the point's mode without a decoder; None where the mode has no static `schedule(point)`.

    Raises ConfigError for a mode that cannot be loaded, and for a schedule that raises or has wrong steps.
    """
    schedule = getattr(load(point.mode, point.folder), "schedule", None)
    if schedule is None:
        return None
    try:
        return checked(point, schedule(point))
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f'mode = "{point.mode}": schedule(point) raised {_described(error)}.') from error


def checked(point: Point, steps: Any) -> list[Step]:
    """Return the steps of a generation. Raises ConfigError where they cannot run in their order."""
    where = f'mode = "{point.mode}"'
    if not isinstance(steps, Sequence) or not steps or not all(isinstance(step, Step) for step in steps):
        raise ConfigError(f"{where} has steps that are {_kind(steps)}; expected a list of one or more Step.")
    for index, step in enumerate(steps):
        if step.index != index:
            raise ConfigError(f"{where}: step {index} has index = {step.index}; expected steps numbered from 0.")
        if not 1 <= (step.query or 0) <= (step.context or 0):
            raise ConfigError(
                f"{where}: step {index} has query = {step.query} and context = {step.context}; "
                "expected 1 <= query <= context."
            )
    return cast(list[Step], list(steps))


def _module(name: str, folder: str, *, where: str) -> ModuleType:
    """Return the module `name`, imported with `folder` in front of `sys.path`."""
    importlib.invalidate_caches()
    top = name.partition(".")[0]
    spec = PathFinder.find_spec(top, [folder or "."])
    loaded = sys.modules.get(top)
    # A folder without __init__.py has no origin, and gives way to a package of its name.
    if spec is not None and spec.origin is not None and loaded is not None and not _same(loaded, spec.origin):
        raise ConfigError(
            f"{where}: a module {top} from elsewhere is loaded already; expected a name that no other module has."
        )
    if spec is not None:
        sys.path.insert(0, folder or ".")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # The module itself, or a package above it; anything else is missing inside the module.
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise ConfigError(f"{where}: {name} raised {_described(error)}; expected a module to import.") from error
        file = f"{name.replace('.', '/')}.py"
        raise ConfigError(
            f"{where}: there is no module {error.name}; expected {file} beside the configuration, or on sys.path."
        ) from None
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{where}: {name} raised {_described(error)}; expected a module to import.") from error
    finally:
        if spec is not None and (folder or ".") in sys.path:
            sys.path.remove(folder or ".")


def _same(module: ModuleType, origin: str) -> bool:
    """Whether a loaded module comes from the file `origin`."""
    file = getattr(module, "__file__", None)
    return file is not None and Path(file).resolve() == Path(origin).resolve()


def _described(error: BaseException) -> str:
    """Return an exception's type and the first line of its message."""
    line = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {line}".removesuffix(": ")


def _kind(value: Any) -> str:
    """Return the type of a value, with an article."""
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
