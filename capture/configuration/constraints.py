"""Combinations that cannot be, each as one clause: what was found, and what was expected."""

from pathlib import Path
from typing import Any

from ridgeline.capture.configuration.point import Point
from ridgeline.capture.configuration.presets import PRESETS, Shape, shape_of
from ridgeline.capture.configuration.values import literal

BF16_CAPABILITY = (8, 0)
FLASH_CAPABILITY = (8, 0)
TRITON_CAPABILITY = (7, 0)
FP8_CAPABILITY = (8, 9)
INT8_CAPABILITY = (8, 0)
PRODUCT_MULTIPLE = 16
"""8-bit products take matrices of so many rows and columns, or a multiple."""
Capability = tuple[int, int] | None


def conflict(values: dict[str, Any]) -> str | None:
    """What is impossible about the values of a point before its defaults are known, or None."""
    given = [key for key in ("schedule", "threshold", "factor") if key in values]
    if len(given) > 1:
        return f"{' and '.join(given)} are given; expected at most one of schedule, threshold and factor"
    if "steps" in values and given and given != ["schedule"]:
        return (
            f"steps = {values['steps']} is given beside {given[0]}, with which confidence decides; expected one of them"
        )
    return None


def problem(point: Point) -> str | None:
    """What is impossible about a point on any device, or None."""
    checks = (_labels, _checkpoint, _model, _linear, _length, _blocks, _steps, _sparse, _execution, _canvas)
    return next((found for check in checks if (found := check(point)) is not None), None)


def unsupported(point: Point, capability: Capability) -> str | None:
    """Why a device cannot run a point, as a sentence, or None.

    `capability` is the compute capability of a CUDA device, None for a CPU.
    """
    found = _on_cpu(point) if capability is None else _on_cuda(point, capability)
    return None if found is None else f"{found}."


def _labels(point: Point) -> str | None:
    for key, label in (("experiment", point.experiment), ("name", point.name)):
        if not label.isprintable():
            return f"{key} = {literal(label)} has characters that cannot be printed; expected none"
    if "/" in point.name or "\\" in point.name or point.name.startswith("."):
        return (
            f"name = {literal(point.name)} cannot name a directory; "
            'expected one without "/" and "\\" that starts with no "."'
        )
    return None


def _checkpoint(point: Point) -> str | None:
    if point.checkpoint is None:
        return None
    if not (Path(point.checkpoint) / "config.json").is_file():
        return f'checkpoint = "{point.checkpoint}" holds no config.json; expected a directory in Hugging Face layout'
    if point.heads is not None or point.kv_heads is not None:
        return "heads or kv_heads is given beside a checkpoint, whose weights have heads already; expected one of them"
    return None


def _model(point: Point) -> str | None:
    preset, shape = PRESETS[point.model], shape_of(point)
    if shape.layers > preset.layers:
        return f"layers = {shape.layers} exceeds the {preset.layers} layers of {point.model}"
    if shape.head_width is None and shape.hidden % shape.heads:
        return f"heads = {shape.heads} does not divide the width {shape.hidden} of {point.model}"
    if shape.kv_heads > shape.heads:
        return f"kv_heads = {shape.kv_heads} exceeds heads = {shape.heads}; expected a divisor of heads"
    if shape.heads % shape.kv_heads:
        return f"kv_heads = {shape.kv_heads} does not divide heads = {shape.heads}"
    return _head_width(shape)


def _head_width(shape: Shape) -> str | None:
    if shape.head_dim % 2:
        return f"heads = {shape.heads} makes heads of {shape.head_dim} elements; expected an even number, to be rotated"
    return None


def _linear(point: Point) -> str | None:
    """8-bit products give bf16 where they scale what they write, and take no odd sizes."""
    if point.linear == "model":
        return None
    if point.linear == "fp8" and point.dtype != "bf16":
        return f'linear = "fp8" gives bf16 where dtype = "{point.dtype}"; expected dtype = "bf16" or linear = "int8"'
    shape = shape_of(point)
    heads, kv_heads = (count * shape.head_dim for count in (shape.heads, shape.kv_heads))
    for name, width in {"hidden": shape.hidden, "ffn": shape.ffn, "heads": heads, "kv_heads": kv_heads}.items():
        if width % PRODUCT_MULTIPLE:
            return (
                f'linear = "{point.linear}" multiplies matrices of multiples of {PRODUCT_MULTIPLE}, the {name} of '
                f'{point.model} make {width}; expected "model"'
            )
    return None


def _length(point: Point) -> str | None:
    shape = PRESETS[point.model]
    found = f"prompt_tokens + generated_tokens = {point.length} exceeds the"
    if point.length > shape.max_positions:
        return f"{found} {shape.max_positions} positions of {point.model}"
    if shape.trained_positions is None or point.length <= shape.trained_positions or point.beyond_training:
        return None
    return (
        f"{found} {shape.trained_positions} positions {point.model} was trained for; "
        "expected no more, or beyond_training = true, for times and bytes alone"
    )


def _blocks(point: Point) -> str | None:
    if point.block is None:
        return None
    if point.generated_tokens % point.block:
        return f"block = {point.block} does not divide generated_tokens = {point.generated_tokens}"
    if point.schedule is not None and sum(point.schedule) != point.block:
        return (
            f"schedule = {literal(point.schedule)} commits {sum(point.schedule)} tokens; "
            f"expected the {point.block} of a block"
        )
    return None


def _steps(point: Point) -> str | None:
    if point.block is None or point.steps is None:
        return None
    if point.schedule is not None and point.steps != point.blocks * len(point.schedule):
        return (
            f"steps = {point.steps} is given beside a schedule of {len(point.schedule)} steps for each of "
            f"{point.blocks} blocks; expected {point.blocks * len(point.schedule)}, or no steps"
        )
    if point.steps % point.blocks:
        return f"steps = {point.steps} is not a multiple of the {point.blocks} blocks of {point.block} tokens"
    if point.steps > point.generated_tokens:
        return (
            f"steps = {point.steps} exceeds generated_tokens = {point.generated_tokens}; "
            "expected at least one token a step"
        )
    return None


def _sparse(point: Point) -> str | None:
    """Its mask is of whole sequences."""
    if point.attention != "block_sparse":
        return None
    if point.mode != "dlm_full":
        return f'attention = "block_sparse" is not for mode = "{point.mode}"; expected "dlm_full"'
    return 'attention = "block_sparse" is given without a window; expected one' if point.window is None else None


def _execution(point: Point) -> str | None:
    waits = _waiting(point)
    if waits is not None and point.execution != "eager":
        return f'execution = "{point.execution}" cannot run {waits}, which waits for the device; expected "eager"'
    if point.attention == "flash" and _masked_prefill(point):
        return (
            f'attention = "flash" takes no mask, which a prefill of {point.prompt_tokens} tokens in blocks of '
            f'{point.block} needs; expected "auto" or a prompt of one block at most'
        )
    return _on_cpu(point) if point.device == "cpu" else _without_capability(point) if point.device == "cuda" else None


def _waiting(point: Point) -> str | None:
    """What makes a step wait for the device, or None."""
    if point.variant in ("faithful", "synchronous"):
        return f'variant = "{point.variant}"'
    return ("threshold" if point.threshold is not None else "factor") if point.adaptive else None


def _masked_prefill(point: Point) -> bool:
    """Whether the prompt is more than one block that may not see those after it."""
    return point.mode == "dlm_block_causal" and point.prompt_tokens > (point.block or 0)


def _on_cpu(point: Point) -> str | None:
    if point.execution == "cuda_graph":
        return 'execution = "cuda_graph" needs a CUDA device; expected "eager" or "compile" on a CPU'
    if point.attention in ("cudnn", "efficient"):
        return f'attention = "{point.attention}" needs a CUDA device; expected "auto", "flash" or "math" on a CPU'
    return None


def _without_capability(point: Point) -> str | None:
    """What no CUDA device runs."""
    if point.dtype == "fp32" and point.attention in ("flash", "cudnn"):
        return f'attention = "{point.attention}" takes no fp32 on a CUDA device; expected dtype = "bf16" or "fp16"'
    return None


def _on_cuda(point: Point, capability: tuple[int, int]) -> str | None:
    needs = (
        (point.dtype == "bf16", BF16_CAPABILITY, 'dtype = "bf16"', 'dtype = "fp16"'),
        (point.attention in ("flash", "cudnn"), FLASH_CAPABILITY, f'attention = "{point.attention}"', '"auto"'),
        (point.attention == "block_sparse", FLASH_CAPABILITY, 'attention = "block_sparse"', '"auto"'),
        (point.linear == "fp8", FP8_CAPABILITY, 'linear = "fp8"', '"int8" or "model"'),
        (point.linear == "int8", INT8_CAPABILITY, 'linear = "int8"', '"model"'),
        (point.execution == "compile", TRITON_CAPABILITY, 'execution = "compile"', '"eager" or "cuda_graph"'),
    )
    for asked, least, what, instead in needs:
        if asked and capability < least:
            found, needed = (".".join(map(str, each)) for each in (capability, least))
            return f"{what} needs compute capability {needed}, the device has {found}; expected {instead}"
    return _without_capability(point)


def _canvas(point: Point) -> str | None:
    """DiffusionGemma's decoder is the library's: it knows one way to decode."""
    if PRESETS[point.model].layout != "diffusion_gemma":
        return None
    only: dict[str, tuple[Any, ...]] = {
        "mode": ("dlm_block_causal",), "execution": ("eager",), "guidance": (0.0,), "attention": ("auto",),
        "linear": ("model",),
        "fused": (None, False), "layers": (None,), "heads": (None,), "kv_heads": (None,), "checkpoint": (None,),
    }  # fmt: skip
    for key, allowed in only.items():
        if getattr(point, key) not in allowed:
            wanted = "none" if allowed[0] is None else literal(allowed[0])
            return f"{key} = {literal(getattr(point, key))} is not for {point.model}; expected {wanted}"
    return None
