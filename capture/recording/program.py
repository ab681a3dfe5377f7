"""What is known of a recorded program: its configuration, its model and its device."""

import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from ridgeline.capture.errors import CaptureError
from ridgeline.capture.steps import RecordedStep

NUMBERS = ("batch", "prompt_tokens", "generated_tokens", "block", "steps", "tokens")
"""Facts that are whole numbers."""

WORDS = ("model", "mode", "execution", "dtype")
"""Facts that are words."""

DTYPES = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32", "float64": "fp64"}

OF_CONFIG = {
    "hidden": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "ffn": "intermediate_size",
    "vocabulary": "vocab_size",
}
"""The attributes of a Hugging Face configuration that describe an architecture, under the names of run.json."""

RESERVED = frozenset({"phase", "step", "kind", "module"})
"""Keys of a label that a fact of a step may not have."""


def checked(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a recording as run.json stores them. Raises CaptureError for a known key of the wrong type."""
    stored: dict[str, Any] = {}
    for key, value in facts.items():
        if key in NUMBERS and value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise CaptureError(f"{key} = {value!r}; expected a whole number.")
        if key in WORDS and value is not None and not isinstance(value, str):
            raise CaptureError(f"{key} = {value!r}; expected a word.")
        plain = value is None or isinstance(value, bool | int | float | str)
        stored[key] = value if plain else str(value)
    return stored


def step_of(kind: str, phase: str | None, index: int, facts: Mapping[str, Any]) -> RecordedStep:
    """The step `index` of a program, with the values of `facts` as a label writes them.

    Raises CaptureError for a fact called like a key of every label.
    """
    if not RESERVED.isdisjoint(facts):
        wrong = min(RESERVED & facts.keys())
        raise CaptureError(f"a step has no fact {wrong!r}: the recording writes it; choose another name.")
    numbers: dict[str, int] = {}
    words: dict[str, str] = {}
    for key, value in facts.items():
        if value is None:
            continue
        if key in ("query", "context", "tokens", "block"):
            numbers[key] = int(value)
        else:
            words[key] = word(value)
    kind = word(kind)
    return RecordedStep(phase=word(phase) if phase else kind, index=index, kind=kind, facts=words, **numbers)


def word(value: Any) -> str:
    """A value as one word of a label, in which spaces separate pairs."""
    return "_".join(str(value).split()) or "_"


def device_of(modules: Sequence[nn.Module]) -> torch.device:
    """The device that a program works on: the CUDA device of its modules, else the current one if CUDA is in use."""
    for parameter in parameters(modules):
        if parameter.device.type == "cuda":
            return parameter.device
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def compiled_frames() -> int:
    """The number of frames that torch.compile has compiled in this process."""
    utils: Any = sys.modules.get("torch._dynamo.utils")  # not imported here: that loads the compiler
    return utils.counters["frames"]["total"] if utils is not None else 0


def dtype_of(modules: Sequence[nn.Module]) -> str | None:
    """The data type of most floating-point parameters, as a configuration names it; None without any."""
    sizes: dict[str, int] = {}
    for parameter in parameters(modules):
        if parameter.is_floating_point():
            name = str(parameter.dtype).removeprefix("torch.")
            sizes[name] = sizes.get(name, 0) + parameter.numel()
    largest = max(sizes, key=sizes.__getitem__, default=None)
    return DTYPES.get(largest, largest) if largest is not None else None


def model_of(modules: Sequence[nn.Module]) -> dict[str, Any]:
    """The class of the largest module, its architecture where a configuration tells it, and the parameters of all."""
    if not modules:
        return {}
    largest: Any = unwrapped(max(modules, key=lambda module: sum(each.numel() for each in parameters([module]))))
    config = getattr(largest, "config", None)
    if callable(text := getattr(config, "get_text_config", None)):  # of a model that also reads images
        config = text()
    architecture = {key: getattr(config, attribute, None) for key, attribute in OF_CONFIG.items()}
    numbers = {key: value for key, value in architecture.items() if isinstance(value, int)}
    total = sum(each.numel() for each in parameters(modules))
    return {"name": type(largest).__name__, **numbers, "parameters": total}


def unwrapped(module: nn.Module) -> nn.Module:
    """Return the module inside torch.compile and inside wrappers that pass all arguments on, such as DDP."""
    inner = getattr(module, "_orig_mod", module)
    while argument_names(type(inner).forward) == () and isinstance(getattr(inner, "module", None), nn.Module):
        inner = inner.module
        inner = getattr(inner, "_orig_mod", inner)
    return inner if isinstance(inner, nn.Module) else module


@lru_cache(maxsize=256)
def argument_names(forward: Any) -> tuple[str, ...]:
    """The names of the positional parameters of `forward`, without the module itself."""
    try:
        parameters = list(inspect.signature(forward).parameters.values())[1:]
    except (TypeError, ValueError):
        return ()
    return tuple(each.name for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD))


def weights_bytes(modules: Sequence[nn.Module]) -> int:
    """Bytes of all parameters and buffers on this rank; storage that several share counts once."""
    storages: dict[int, int] = {}
    buffers = (each for module in modules for each in module.buffers())
    for tensor in (*parameters(modules), *buffers):
        with suppress(RuntimeError, NotImplementedError, ValueError):  # without storage of its own, or a shape
            # of a sharded parameter, this rank's part
            storage = getattr(tensor, "_local_tensor", tensor).untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def parameters(modules: Sequence[nn.Module]) -> Iterator[nn.Parameter]:
    """Each parameter of `modules` once, without those that have no shape yet."""
    every: dict[int, Any] = {id(each): each for module in modules for each in module.parameters()}
    return (each for each in every.values() if not is_lazy(each))
