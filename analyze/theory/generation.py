"""Predictions of a generation in closed form: FLOPs, bytes, intensity and least time, by kind of step and component.

The forwards are those that `capture` runs (`ridgeline.capture.configuration.forecast.forwards`); their costs come from
`ridgeline.analyze.theory.closed_forms`. This needs neither torch nor a warehouse.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import msgspec

from ridgeline.analyze.theory.closed_forms import Component, Convention, Cost, Work, block_causal_pairs, components
from ridgeline.capture.configuration.forecast.forwards import Forward, forwards
from ridgeline.capture.configuration.forecast.roofs import Roofs
from ridgeline.capture.configuration.point import ITEM_BYTES, Mode, Point
from ridgeline.capture.configuration.presets import shape_of
from ridgeline.capture.configuration.shape import Shape
from ridgeline.capture.errors import ConfigError
from ridgeline.capture.steps import Kind


class Predicted(msgspec.Struct, frozen=True, kw_only=True):
    """One component of `forwards` forwards, by a convention."""

    convention: Convention
    component: Component
    forwards: int
    flops: float
    bytes: float

    @property
    def intensity(self) -> float:
        """FLOPs per byte; infinite where no bytes move."""
        if self.bytes:
            return self.flops / self.bytes
        return float("inf") if self.flops else 0.0


class Prediction(Predicted, frozen=True, kw_only=True):
    """One component of similar forwards of a generation; whole `flops` and `bytes` cover all of them.

    Each forward processes `query` positions and attends to `context`. Decoding steps, which differ by one position
    each, form one prediction with their mean context.
    """

    kind: Kind
    query: int
    context: float


class Total(Predicted, frozen=True, kw_only=True):
    """One component of a kind's mean step or, where `kind` is None, of a whole generation."""

    kind: Kind | None
    floor_s: float


def predict(
    shape: Shape,
    *,
    mode: Mode,
    prompt: int,
    generate: int,
    block: int | None = None,
    steps: int | None = None,
    batch: int = 1,
    item_bytes: int = 2,
    convention: Convention = "corrected",
) -> list[Prediction]:
    """Predictions of one generation; `block` and `steps` default to `generate`, as in a configuration.

    Raises ConfigError for impossible lengths and for a model that is not a dense decoder.

    >>> from ridgeline.capture.configuration.presets import PRESETS
    >>> linear, *_ = predict(PRESETS["llada-8b"], mode="dlm_full", prompt=1024, generate=128, steps=64)
    >>> linear.kind, linear.component, linear.forwards, f"{linear.flops / linear.forwards:.4g}"
    ('denoise', 'linear', 64, '1.727e+13')
    """
    requested = {"prompt": prompt, "generate": generate, "block": block, "steps": steps, "batch": batch}
    for name, number in requested.items():
        if number is not None and number < 1:
            raise ConfigError(f"{name} = {number}; expected at least 1.")
    if mode == "ar":
        block = steps = None
    else:
        block, steps = block or generate, steps or generate
        if generate % block:
            raise ConfigError(f"block = {block} does not divide generate = {generate}.")
        blocks = generate // block
        if steps > generate or steps % blocks:
            raise ConfigError(f"steps = {steps}; expected a multiple of the {blocks} blocks, {generate} at most.")
    lengths = {"prompt_tokens": prompt, "generated_tokens": generate, "block": block, "steps": steps, "batch": batch}
    point = Point(model=shape.name, mode=mode, **lengths)  # type: ignore[arg-type]
    return list(_predictions(shape, point, item_bytes, convention))


def predict_point(point: Point, convention: Convention, *, contexts: Collection[int] = ()) -> list[Prediction]:
    """Predictions of a point of a sweep, with its guidance, schedules, layers and heads.

    Decoding steps that attend to one of `contexts` get predictions of their own; the steps between them share one.
    """
    return list(_predictions(shape_of(point), point, ITEM_BYTES[point.dtype], convention, contexts))


def floor_s(prediction: Prediction, roofs: Roofs, dtype: str = "bf16") -> float:
    """The least time of all forwards: for each the longer of its FLOPs at the peak and its bytes at DRAM bandwidth.

    The floor of a sum of components comes from their summed FLOPs and bytes, as if they overlapped perfectly.
    """
    return max(prediction.flops / roofs.flops_per_s(dtype), prediction.bytes / roofs.bytes_per_s)


def _predictions(
    shape: Shape, point: Point, item_bytes: int, convention: Convention, contexts: Collection[int] = ()
) -> Iterator[Prediction]:
    """A prediction for each component of each group of similar forwards."""
    if shape.layout == "diffusion_gemma":
        raise ConfigError(f"{shape.name} has experts and windows; expected a dense decoder, such as llada-8b.")

    def cost(forward: Forward) -> dict[Component, Cost]:
        prefill = forward.kind == "prefill"
        in_blocks = prefill and point.mode == "dlm_block_causal"
        work = Work(
            query=forward.query,
            context=forward.context,
            logits=forward.logits,
            pairs=block_causal_pairs(forward.query, point.block or 1) if in_blocks else forward.pairs,
            sampled=forward.confident or forward.logits,
            confident=forward.confident > 0,
            causal=prefill and point.mode == "ar",
            sequences=point.sequences,
            item_bytes=item_bytes,
        )
        return components(shape, work, convention)

    for first, last, count in _similar(point, contexts):
        # Costs grow evenly from one decoding step to the next: the mean of the first and the last is that of all.
        lowest, highest = cost(first), cost(last)
        for component in lowest:
            both = lowest[component] + highest[component]
            yield Prediction(
                convention=convention,
                kind=first.kind,
                component=component,
                query=first.query,
                context=(first.context + last.context) / 2,
                forwards=count,
                flops=both.flops * count // 2,
                bytes=both.bytes * count // 2,
            )


def _similar(point: Point, contexts: Collection[int]) -> Iterator[tuple[Forward, Forward, int]]:
    """The first, the last and the number of each group of similar forwards; one of `contexts` stands alone."""
    schedule = forwards(point)
    decoding = [forward for forward in schedule if forward.kind == "decode"]
    counts: dict[Forward, int] = {}
    for forward in schedule[: len(schedule) - len(decoding)]:
        # equal but for how often they run
        one = msgspec.structs.replace(forward, count=1)
        counts[one] = counts.get(one, 0) + forward.count
    yield from ((forward, forward, count) for forward, count in counts.items())
    # cut the decoding steps, which are in order, around each of `contexts`
    stretches: list[list[Forward]] = []
    for forward in decoding:
        if not stretches or forward.context in contexts or stretches[-1][-1].context in contexts:
            stretches.append([])
        stretches[-1].append(forward)
    yield from ((stretch[0], stretch[-1], len(stretch)) for stretch in stretches)


def totals(predictions: Iterable[Prediction], roofs: Roofs, dtype: str = "bf16", *, by_kind: bool) -> list[Total]:
    """By convention and component, in order of appearance: the mean step of each kind, or the whole generation."""
    groups: dict[tuple[str, ...], list[Prediction]] = {}
    for each in predictions:
        groups.setdefault((each.convention, each.kind if by_kind else "", each.component), []).append(each)
    rows = []
    for group in groups.values():
        count = sum(each.forwards for each in group)
        # the mean of a kind's forwards, or the sum of all
        divisor = count if by_kind else 1
        total = Total(
            convention=group[0].convention,
            kind=group[0].kind if by_kind else None,
            component=group[0].component,
            forwards=count,
            flops=sum(each.flops for each in group) / divisor,
            bytes=sum(each.bytes for each in group) / divisor,
            floor_s=sum(floor_s(each, roofs, dtype) for each in group) / divisor,
        )
        rows.append(total)
    return rows
