"""Step times of a whole model, extrapolated from timings of the same steps at two smaller depths."""

import statistics
from collections.abc import Iterable

from ridgeline.capture.records import Scaled, Timing


def extrapolate(deep: Iterable[Timing], shallow: Iterable[Timing], *, layers: int, other_depth: int, of: int) -> Scaled:
    """Step times at `of` layers from timings `deep` at `layers` layers and `shallow` at `other_depth` layers.

    t(of) = t(layers) + (of - layers) * (t(layers) - t(other_depth)) / (layers - other_depth). This assumes that every
    layer costs the same, and that embedding, head and token selection cost the same at any depth. A kind of step that
    only one depth took, which happens where confidence decides, is left out.
    """
    more, fewer = _medians_ns(deep), _medians_ns(shallow)
    layer_ns = {kind: (more[kind] - fewer[kind]) / (layers - other_depth) for kind in more if kind in fewer}
    step_ns = {kind: round(more[kind] + (of - layers) * layer_ns[kind]) for kind in layer_ns}
    return Scaled(layers=layers, of=of, other_depth=other_depth, step_ns=step_ns)


def _medians_ns(timings: Iterable[Timing]) -> dict[str, float]:
    """The median duration of each kind of step."""
    steps: dict[str, list[int]] = {}
    for timing in timings:
        if timing.metric == "step" and timing.kind is not None:
            steps.setdefault(timing.kind, []).append(timing.value_ns)
    return {kind: statistics.median(values) for kind, values in steps.items()}
