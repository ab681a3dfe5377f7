"""Predictions of a generation in closed form: FLOPs, bytes, intensity and least time, by kind of step and component.

The forwards are those `capture` runs (`ridgeline.capture.forecast.forwards`), their costs those of
`ridgeline.analyze.theory.closed_forms`. Neither torch nor a warehouse is needed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

import msgspec

from ridgeline.analyze.theory.closed_forms import Component, Convention, Cost, Work, block_causal_pairs, components
from ridgeline.capture.configuration.point import ITEM_BYTES, Mode, Point
from ridgeline.capture.configuration.presets import Shape, shape_of
from ridgeline.capture.errors import ConfigError
from ridgeline.capture.forecast.forwards import Forward, forwards
from ridgeline.capture.forecast.roofs import Roofs
from ridgeline.capture.steps import Kind


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """One component of `forwards` like forwards of a generation; `flops` and `bytes` are of all of them.

    Each processes `query` positions and attends to `context`; decoding steps differ by a position each and are taken
    together, with the mean of theirs.
    """

    convention: Convention
    kind: Kind
    component: Component
    query: int
    context: float
    forwards: int
    flops: int
    bytes: int

    @property
    def intensity(self) -> float:
        """FLOPs a byte; infinite where nothing is moved."""
        return _intensity(self.flops, self.bytes)


class Total(msgspec.Struct, frozen=True, kw_only=True):
    """One component of a kind's mean step, or of a whole generation (`kind` is None); `forwards` says of how many."""

    convention: Convention
    kind: Kind | None
    component: Component
    forwards: int
    flops: float
    bytes: float
    floor_s: float

    @property
    def intensity(self) -> float:
        """FLOPs a byte; infinite where nothing is moved."""
        return _intensity(self.flops, self.bytes)


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

    Raises ConfigError for lengths that cannot be and for a model that is not a dense decoder.

    >>> linear, *_ = predict(PRESETS["llada-8b"], mode="dlm_full", prompt=1024, generate=128, steps=64)
    >>> linear.kind, linear.component, linear.forwards, f"{linear.flops / linear.forwards:.4g}"
    ('denoise', 'linear', 64, '1.727e+13')
    """
    _check(mode, {"prompt": prompt, "generate": generate, "block": block, "steps": steps, "batch": batch})
    point = Point(
        model=shape.name, mode=mode, prompt_tokens=prompt, generated_tokens=generate, batch=batch,
        block=None if mode == "ar" else block or generate, steps=None if mode == "ar" else steps or generate,
    )  # fmt: skip
    return list(_predictions(shape, point, item_bytes, convention))


def predict_point(point: Point, convention: Convention, *, contexts: Collection[int] = ()) -> list[Prediction]:
    """Predictions of a point of a sweep, guidance, schedules and its own layers and heads included.

    Decoding steps that attend to one of `contexts` are predicted on their own, those between them together.
    """
    return list(_predictions(shape_of(point), point, ITEM_BYTES[point.dtype], convention, contexts))


def floor_s(prediction: Prediction, roofs: Roofs, dtype: str = "bf16") -> float:
    """The least time of all its forwards: in each the slower of its operations at the peak and its bytes at the DRAM's.

    The floor of a sum of components is that of their sums: it grants that they overlap perfectly.
    """
    return max(prediction.flops / roofs.flops_per_s(dtype), prediction.bytes / roofs.bytes_per_s)


def per_step(predictions: Iterable[Prediction], roofs: Roofs, dtype: str = "bf16") -> list[Total]:
    """The mean step of each kind, by component."""
    return [_total(group, roofs, dtype, whole=False) for group in _grouped(predictions, by_kind=True)]


def per_generation(predictions: Iterable[Prediction], roofs: Roofs, dtype: str = "bf16") -> list[Total]:
    """The whole generation, by component."""
    return [_total(group, roofs, dtype, whole=True) for group in _grouped(predictions, by_kind=False)]


def _predictions(
    shape: Shape, point: Point, item_bytes: int, convention: Convention, contexts: Collection[int] = ()
) -> Iterator[Prediction]:
    """Every group of like forwards, by component."""
    if shape.layout == "diffusion_gemma":
        raise ConfigError(f"{shape.name} has experts and windows; expected a dense decoder, such as llada-8b.")
    for first, last, count in _alike(point, contexts):
        lowest, highest = (components(shape, _work(point, each, item_bytes), convention) for each in (first, last))
        for component, cost in lowest.items():
            both = cost + highest[component]
            yield Prediction(
                convention=convention, kind=first.kind, component=component, query=first.query,
                context=(first.context + last.context) / 2, forwards=count,
                flops=both.flops * count // 2, bytes=both.bytes * count // 2,
            )  # fmt: skip


def _alike(point: Point, contexts: Collection[int]) -> Iterator[tuple[Forward, Forward, int]]:
    """First, last and number of like forwards. Costs grow evenly from one decoding step to the next, so two say all."""
    found = forwards(point)
    decoding = [forward for forward in found if forward.kind == "decode"]
    counts: dict[Forward, int] = {}
    for forward in found if not decoding else found[: -len(decoding)]:
        one = msgspec.structs.replace(forward, count=1)
        counts[one] = counts.get(one, 0) + forward.count
    yield from ((forward, forward, count) for forward, count in counts.items())
    for stretch in _stretches(decoding, frozenset(contexts)):
        yield stretch[0], stretch[-1], len(stretch)


def _stretches(decoding: list[Forward], contexts: frozenset[int]) -> list[list[Forward]]:
    """Decoding steps in order, cut so that those of `contexts` stand alone."""
    stretches: list[list[Forward]] = []
    for forward in decoding:
        if not stretches or forward.context in contexts or stretches[-1][-1].context in contexts:
            stretches.append([])
        stretches[-1].append(forward)
    return stretches


def _work(point: Point, forward: Forward, item_bytes: int) -> Work:
    """A forward as its closed form takes it."""
    causal = point.mode == "ar" and forward.kind == "prefill"
    in_blocks = point.mode == "dlm_block_causal" and forward.kind == "prefill"
    return Work(
        query=forward.query, context=forward.context, logits=forward.logits,
        pairs=block_causal_pairs(forward.query, point.block or 1) if in_blocks else forward.pairs,
        sampled=forward.confident or forward.logits, confident=forward.confident > 0,
        causal=causal, sequences=point.sequences, item_bytes=item_bytes,
    )  # fmt: skip


def _grouped(predictions: Iterable[Prediction], *, by_kind: bool) -> list[list[Prediction]]:
    """Predictions of the same convention, component and, if so wanted, kind, in the order they first come."""
    groups: dict[tuple[str, ...], list[Prediction]] = {}
    for each in predictions:
        groups.setdefault((each.convention, each.kind if by_kind else "", each.component), []).append(each)
    return list(groups.values())


def _total(group: list[Prediction], roofs: Roofs, dtype: str, *, whole: bool) -> Total:
    """The sum of predictions, or the mean of their forwards."""
    count = sum(each.forwards for each in group)
    share = 1 if whole else count
    cost = sum((Cost(each.flops, each.bytes) for each in group), Cost())
    return Total(
        convention=group[0].convention, kind=None if whole else group[0].kind, component=group[0].component,
        forwards=count, flops=cost.flops / share, bytes=cost.bytes / share,
        floor_s=sum(floor_s(each, roofs, dtype) for each in group) / share,
    )  # fmt: skip


def _intensity(flops: float, moved_bytes: float) -> float:
    if moved_bytes:
        return flops / moved_bytes
    return float("inf") if flops else 0.0


def _check(mode: str, numbers: Mapping[str, int | None]) -> None:
    """Raise ConfigError for lengths that cannot be."""
    for name, number in numbers.items():
        if number is not None and number < 1:
            raise ConfigError(f"{name} = {number}; expected at least 1.")
    generate = numbers["generate"] or 1
    block, steps = numbers["block"] or generate, numbers["steps"] or generate
    if mode == "ar":
        return
    if generate % block:
        raise ConfigError(f"block = {block} does not divide generate = {generate}.")
    if steps > generate or steps % (generate // block):
        raise ConfigError(
            f"steps = {steps}; expected a multiple of the {generate // block} blocks, {generate} at most."
        )
