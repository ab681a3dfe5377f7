"""Combinations of values that cannot run. Each function returns a message without a full stop, or None.

A message says what the configuration has, what is expected, and thereby which key to change.
"""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from ridgeline.capture.configuration.point import Point
from ridgeline.capture.configuration.presets import published, shape_of
from ridgeline.capture.configuration.values import literal

BF16_CAPABILITY = (8, 0)
FLASH_CAPABILITY = (8, 0)
TRITON_CAPABILITY = (7, 0)
FP8_CAPABILITY = (8, 9)
INT8_CAPABILITY = (8, 0)
PRODUCT_MULTIPLE = 16
"""8-bit matrix products need row and column counts that are multiples of this."""
Capability = tuple[int, int] | None


def conflict(values: dict[str, Any]) -> str | None:
    """Return why the values of a point contradict each other, before defaults are filled in, or None."""
    # Three rules for how many tokens a step commits; only a schedule also fixes the number of steps.
    rules = [key for key in ("schedule", "threshold", "factor") if key in values]
    if len(rules) > 1:
        return f"{' and '.join(rules)} are set together; expected at most one of schedule, threshold and factor"
    if "steps" in values and rules and rules != ["schedule"]:
        return (
            f"steps = {values['steps']} is set together with {rules[0]}, by which confidence decides the number of "
            "steps; expected one of them"
        )
    return None


def problem(point: Point) -> str | None:
    """Return why a point cannot run on any device, or None."""
    # The checks are generators, so that each may rely on the ones before it: a block divides the tokens, for example.
    checks = (_labels_and_checkpoint, _architecture, _lengths, _execution, _canvas_model)
    return next(chain.from_iterable(check(point) for check in checks), None)


def unsupported(point: Point, capability: Capability) -> str | None:
    """Return why a device cannot run a point, as a sentence, or None.

    `capability` is the compute capability of a CUDA device, None for a CPU.
    """
    message = next(_on_cpu(point) if capability is None else _on_cuda(point, capability), None)
    return None if message is None else f"{message}."


def _labels_and_checkpoint(point: Point) -> Iterator[str]:
    for key, label in (("experiment", point.experiment), ("name", point.name)):
        if not label.isprintable():
            yield f"{key} = {literal(label)} has characters that cannot be printed; expected none"
    if "/" in point.name or "\\" in point.name or point.name.startswith("."):
        yield f'name = {literal(point.name)} cannot name a directory; expected no "/", no "\\" and no "." at its start'
    if point.checkpoint is None:
        return
    if not (Path(point.checkpoint) / "config.json").is_file():
        yield f'checkpoint = "{point.checkpoint}" has no config.json; expected a directory in Hugging Face layout'
    if point.heads is not None or point.kv_heads is not None:
        yield "heads or kv_heads is set together with checkpoint, whose weights fix the heads; expected one of them"


def _architecture(point: Point) -> Iterator[str]:
    layers, shape = published(point).layers, shape_of(point)
    if shape.layers > layers:
        yield f"layers = {shape.layers} exceeds the {layers} layers of {point.model}; expected at most {layers}"
    if shape.head_width is None and shape.hidden % shape.heads:
        yield (
            f"heads = {shape.heads} does not divide the width {shape.hidden} of {point.model}; "
            f"expected a divisor of {shape.hidden}"
        )
    if shape.heads % shape.kv_heads:
        yield f"kv_heads = {shape.kv_heads} does not divide heads = {shape.heads}; expected a divisor of {shape.heads}"
    if shape.head_dim % 2:
        yield (
            f"heads = {shape.heads} makes heads of {shape.head_dim} elements; "
            "expected heads of an even number, which rotary positions need"
        )
    if point.linear == "model":
        return
    if point.linear == "fp8" and point.dtype != "bf16":
        yield f'linear = "fp8" returns bf16, but dtype = "{point.dtype}"; expected dtype = "bf16" or linear = "int8"'
    # The sizes of the seven products: the model's width, that of its FFN, and all heads of queries or of keys.
    widths = {"heads": shape.heads * shape.head_dim, "kv_heads": shape.kv_heads * shape.head_dim}
    for name, width in {"hidden": shape.hidden, "ffn": shape.ffn, **widths}.items():
        if width % PRODUCT_MULTIPLE:
            yield (
                f'linear = "{point.linear}" needs matrices whose sizes are multiples of {PRODUCT_MULTIPLE}, but '
                f'the {name} of {point.model} make {width}; expected linear = "model"'
            )


def _lengths(point: Point) -> Iterator[str]:
    preset = published(point)
    length = f"prompt_tokens + generated_tokens = {point.length} exceeds the"
    if point.length > preset.max_positions:
        yield f"{length} {preset.max_positions} positions of {point.model}; expected at most {preset.max_positions}"
    # Presets without trained_positions are made up, and trained for nothing.
    if point.length > (preset.trained_positions or point.length) and not point.beyond_training:
        yield (
            f"{length} {preset.trained_positions} positions that {point.model} was trained for; expected at most "
            f"{preset.trained_positions}, or beyond_training = true to measure times and bytes only"
        )
    if point.block is None or not point.built_in:
        return
    generated, blocks = point.generated_tokens, point.blocks
    if generated % point.block:
        yield f"block = {point.block} does not divide generated_tokens = {generated}; expected a divisor of {generated}"
    if point.schedule is not None and sum(point.schedule) != point.block:
        yield (
            f"schedule = {literal(point.schedule)} commits {sum(point.schedule)} tokens; "
            f"expected {point.block}, the tokens of a block"
        )
    if point.steps is None:  # confidence decides
        return
    if point.schedule is not None and point.steps != blocks * len(point.schedule):
        yield (
            f"steps = {point.steps} is set together with a schedule of {len(point.schedule)} steps for each of "
            f"{blocks} blocks; expected {blocks * len(point.schedule)}, or no steps"
        )
    if point.steps % blocks:
        yield f"steps = {point.steps} is not a multiple of the {blocks} blocks; expected a multiple of {blocks}"
    if point.steps > generated:
        yield f"steps = {point.steps} exceeds generated_tokens = {generated}; expected at least one token per step"


def _execution(point: Point) -> Iterator[str]:
    sparse = point.attention == "block_sparse"
    if sparse and point.mode != "dlm_full":  # its mask covers whole sequences
        yield f'attention = "block_sparse" does not work with mode = "{point.mode}"; expected mode = "dlm_full"'
    if sparse and point.window is None:
        yield 'attention = "block_sparse" is set without window; expected window = a number of tokens'
    # A CUDA graph cannot wait for the device, and the host of an adaptive generation waits after every step.
    waits = f'variant = "{point.variant}"' if point.variant in ("faithful", "synchronous") else None
    if point.adaptive:
        waits = waits or ("threshold" if point.threshold is not None else "factor")
    if waits and point.execution != "eager":
        yield (
            f'execution = "{point.execution}" cannot run {waits}, which waits for the device; '
            'expected execution = "eager"'
        )
    # A prompt of several blocks needs a mask: no block attends to a later one.
    if point.attention == "flash" and point.mode == "dlm_block_causal" and point.prompt_tokens > (point.block or 0):
        yield (
            f'attention = "flash" takes no mask, but a prefill of {point.prompt_tokens} tokens in blocks of '
            f'{point.block} needs one; expected attention = "auto" or a prompt of at most one block'
        )
    # Of device = "auto" only the machine can tell: see `unsupported`.
    if point.device == "cpu":
        yield from _on_cpu(point)
    elif point.device == "cuda":
        yield from _on_any_cuda(point)


def _canvas_model(point: Point) -> Iterator[str]:
    """The library decodes DiffusionGemma, in one way."""
    if published(point).layout != "diffusion_gemma":
        return
    supported: dict[str, tuple[Any, ...]] = {
        "mode": ("dlm_block_causal",), "execution": ("eager",), "guidance": (0.0,), "attention": ("auto",),
        "linear": ("model",), "fused": (None, False), "layers": (None,), "heads": (None,), "kv_heads": (None,),
        "checkpoint": (None,),
    }  # fmt: skip
    for key, values in supported.items():
        if getattr(point, key) not in values:
            expected = f"no {key}" if values[0] is None else f"{key} = {literal(values[0])}"
            yield f"{key} = {literal(getattr(point, key))} does not work with {point.model}; expected {expected}"


def _on_cpu(point: Point) -> Iterator[str]:
    if point.execution == "cuda_graph":
        yield 'execution = "cuda_graph" needs a CUDA device; expected execution = "eager" or "compile" on a CPU'
    if point.attention in ("cudnn", "efficient"):
        yield (
            f'attention = "{point.attention}" needs a CUDA device; '
            'expected attention = "auto", "flash" or "math" on a CPU'
        )


def _on_cuda(point: Point, capability: tuple[int, int]) -> Iterator[str]:
    sdpa = point.attention in ("flash", "cudnn", "block_sparse")
    requirements = (
        (point.dtype == "bf16", BF16_CAPABILITY, 'dtype = "bf16"', 'dtype = "fp16"'),
        (sdpa, FLASH_CAPABILITY, f'attention = "{point.attention}"', 'attention = "auto"'),
        (point.linear == "fp8", FP8_CAPABILITY, 'linear = "fp8"', 'linear = "int8" or "model"'),
        (point.linear == "int8", INT8_CAPABILITY, 'linear = "int8"', 'linear = "model"'),
        (point.execution == "compile", TRITON_CAPABILITY, 'execution = "compile"',
         'execution = "eager" or "cuda_graph"'),
    )  # fmt: skip
    for applies, least, setting, expected in requirements:
        if applies and capability < least:
            needed, has = (".".join(map(str, version)) for version in (least, capability))
            yield f"{setting} needs compute capability {needed}, but the device has {has}; expected {expected}"
    yield from _on_any_cuda(point)


def _on_any_cuda(point: Point) -> Iterator[str]:
    if point.dtype == "fp32" and point.attention in ("flash", "cudnn"):
        yield f'attention = "{point.attention}" takes no fp32 on a CUDA device; expected dtype = "bf16" or "fp16"'
