"""Launches of group norms, layer norms and their backward passes: several kernels, each over some of the tensors."""

from __future__ import annotations

from ridgeline.analyze.cache_model.launches.launch import Chunk, Helper, Launch, Rule, read, workspace, write
from ridgeline.analyze.cache_model.operands import Touch

_SCALES = 5
"""Number of the workspace of a scale and a shift for each channel of each sample."""
_SCALE_BYTES = 4


def _group_norm(launch: Launch) -> list[Touch] | None:
    """The moments of all groups, a scale and a shift for each channel, then the result."""
    if not launch.call.inputs or not launch.call.outputs:
        return None
    x, *parameters = launch.call.inputs
    scales = _scales(launch)
    if "RowwiseMoments" in launch.kernel:
        return Chunk([read(x)])
    if "FusedParams" in launch.kernel:
        return Helper([*map(read, parameters), scales])
    return Chunk([read(x), scales._replace(write=False), write(launch.call.outputs[0])])


def _group_norm_backward(launch: Launch) -> list[Touch] | None:
    """Sums over each channel, a scale for each, the gradient of the input, then those of the parameters."""
    if len(launch.call.inputs) < 2 or not launch.call.outputs:
        return None
    (gradient, x, *parameters), kernel, scales = launch.call.inputs, launch.kernel, _scales(launch)
    if "InternalGradients" in kernel:
        return Chunk([read(gradient), read(x), scales])
    # The first elementwise kernel multiplies parameters; the one after the fused parameters makes the gradient.
    fused = any("FusedParams" in before for before in launch.kernels[: launch.at])
    if not fused or "elementwise" not in kernel:
        return Helper([*map(read, parameters), scales._replace(write=False)])
    return Chunk([read(gradient), read(x), scales._replace(write=False), write(launch.call.outputs[0])])


def _scales(launch: Launch) -> Touch:
    """The scales and shifts of a call, written: two numbers for each channel of each sample."""
    shape = next((tensor.shape for tensor in launch.call.inputs if len(tensor.shape) > 2), (0, 0))
    size = 2 * _SCALE_BYTES * shape[0] * shape[1]
    return Touch(workspace(_SCALES), 0, size, size, True)


def _layer_norm(launch: Launch) -> list[Touch] | None:
    """Rows that are no multiple of a vector are read for their moments in a kernel of its own."""
    if not launch.call.inputs or not launch.call.outputs:
        return None
    if "RowwiseMoments" in launch.kernel:
        return Chunk([read(launch.call.inputs[0])])
    if "LayerNormForward" in launch.kernel:
        return Chunk([*map(read, launch.call.inputs), write(launch.call.outputs[0])])
    return None


def _norm_backward(launch: Launch) -> list[Touch] | None:
    """The gradient of the input in one kernel, then the parameters' in another, which reads the tensors again."""
    if len(launch.call.inputs) < 2 or not launch.call.outputs:
        return None
    if "grad_input" in launch.kernel or "GradInput" in launch.kernel:
        return Chunk([*map(read, launch.call.inputs), write(launch.call.outputs[0])])
    if "GammaBeta" in launch.kernel:
        # of AMD's two kernels the second one adds partial sums
        adds_sums = launch.kernel.startswith("cuComputeGradGammaBeta") or "::cuComputeGradGammaBeta" in launch.kernel
        reads = [] if adds_sums else [*map(read, launch.call.inputs)]
        return Chunk([*reads, *map(write, launch.call.outputs[1:])])
    return None


RULES: dict[str, Rule] = {"native_group_norm": _group_norm, "native_group_norm_backward": _group_norm_backward}
RULES["native_layer_norm"] = _layer_norm
RULES |= dict.fromkeys(("native_layer_norm_backward", "_fused_rms_norm_backward"), _norm_backward)
