"""From a subset of a model's layers to the whole: every step timed at two depths, and a line drawn through both."""

import statistics
from collections.abc import Iterable

from ridgeline.capture.records import Scaled, Timing


def extrapolate(deep: Iterable[Timing], shallow: Iterable[Timing], *, layers: int, other_depth: int, of: int) -> Scaled:
    """Step times at `of` layers from timings at `layers` and at `other_depth` fewer ones.

    t(of) = t(layers) + (of - layers) * (t(layers) - t(other_depth)) / (layers - other_depth): layers cost the same
    each, and what is no layer (embedding, head, token selection) costs the same at any depth. A kind of step that one
    of the depths did not take, as where confidence decides, is left out.
    """
    more, fewer = _medians_ns(deep), _medians_ns(shallow)
    layer_ns = {kind: (more[kind] - fewer[kind]) / (layers - other_depth) for kind in more if kind in fewer}
    step_ns = {kind: round(more[kind] + (of - layers) * layer_ns[kind]) for kind in layer_ns}
    return Scaled(layers=layers, of=of, other_depth=other_depth, step_ns=step_ns)


def _medians_ns(timings: Iterable[Timing]) -> dict[str, float]:
    """The median step of every kind."""
    steps: dict[str, list[int]] = {}
    for timing in timings:
        if timing.metric == "step" and timing.kind is not None:
            steps.setdefault(timing.kind, []).append(timing.value_ns)
    return {kind: statistics.median(values) for kind, values in steps.items()}
