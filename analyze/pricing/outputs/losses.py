"""Losses and their gradients."""

from __future__ import annotations

from ridgeline.analyze.pricing.outputs.calls import (
    OutputRule,
    Result,
    axis,
    broadcast,
    check,
    dense,
    integer,
    integers,
    same_as,
    table,
)
from ridgeline.analyze.pricing.outputs.dtypes import result_type, to_floating
from ridgeline.analyze.pricing.outputs.pointwise import combined
from ridgeline.analyze.pricing.signature import Arguments, Tensor


def _reduces(call: Arguments) -> bool:
    """Whether the losses of the elements are averaged (1, the default) or added up (2)."""
    return integer(call, "reduction", 1) in (1, 2)


def _pointwise(*names: str) -> OutputRule:
    """A loss for each element of the named operands, which broadcast, or their sum or mean."""

    def outputs(call: Arguments) -> Result:
        operands = [call.needed(name) for name in names]
        broadcast(*(operand.shape for operand in operands))
        precision = result_type(operands)
        return [dense((), precision) if _reduces(call) else combined(operands, precision)]

    return outputs


def _pointwise_gradient(call: Arguments) -> Result:
    """Of the shape of the operands that broadcast."""
    operands = call.tensors("grad_output", "self", "target")
    check(len(operands) == 3)
    shape = broadcast(*(operand.shape for operand in operands))
    return [dense(shape, result_type(operands[1:]))]


def _classes(call: Arguments) -> tuple[Tensor, Tensor]:
    """Scores (batch, classes, ...) and targets without the dimension of the classes."""
    scores, target = call.needed("self"), call.needed("target")
    check(bool(scores.shape))
    expected = scores.shape[:1] + scores.shape[2:] if len(scores.shape) > 1 else ()
    check(target.shape == expected or (len(scores.shape) == 1 and target.elements == 1))
    return scores, target


def _of_classes(call: Arguments) -> Result:
    scores, target = _classes(call)
    return [dense(() if _reduces(call) else target.shape, scores.precision)]


def _forward(call: Arguments) -> Result:
    """The loss, and the sum of the weights."""
    scores, _ = _classes(call)
    return [*_of_classes(call), dense((), scores.precision)]


def _cross_entropy(call: Arguments) -> Result:
    """Targets are classes, or probabilities of the scores' shape."""
    scores, target = call.needed("self"), call.needed("target")
    check(bool(scores.shape))
    if target.shape != scores.shape:
        return _of_classes(call)
    shape = scores.shape[:1] + scores.shape[2:] if len(scores.shape) > 1 else ()
    return [dense(() if _reduces(call) else shape, scores.precision)]


def _margin(*names: str) -> OutputRule:
    """A loss for each of the first operand's elements, or one."""

    def outputs(call: Arguments) -> Result:
        operands = [call.needed(name) for name in names]
        shape = broadcast(*(operand.shape for operand in operands))
        return [dense(() if _reduces(call) else shape, to_floating(result_type(operands)))]

    return outputs


def _cosine(call: Arguments) -> Result:
    x1, x2 = call.needed("x1"), call.needed("x2")
    shape = list(broadcast(x1.shape, x2.shape))
    dim = integer(call, "dim", 1)
    del shape[axis(dim, len(shape)) : axis(dim, len(shape)) + 1]
    return [dense(shape, x1.precision)]


def _of_sequences(call: Arguments) -> Result:
    """``_ctc_loss``: a loss for each sequence, and its probabilities by step and by position in the padded target."""
    scores, lengths = call.needed("log_probs"), integers(call, "target_lengths")
    check(len(scores.shape) == 3 and len(lengths) == scores.shape[1] > 0)
    steps, sequences, _ = scores.shape
    losses, positions = (sequences,), (sequences, steps, 2 * max(lengths) + 1)
    return [dense(losses, scores.precision), dense(positions, scores.precision)]


def _of_margins(call: Arguments) -> Result:
    scores, target = call.needed("self"), call.needed("target")
    check(0 < len(scores.shape) < 3 and scores.precision == to_floating(scores.precision))
    return [dense(() if _reduces(call) else target.shape, scores.precision)]


RULES = table(
    ("mse_loss l1_loss smooth_l1_loss huber_loss soft_margin_loss kl_div", _pointwise("self", "target")),
    ("binary_cross_entropy binary_cross_entropy_with_logits", _pointwise("self", "target")),
    ("poisson_nll_loss", _margin("input", "target")),
    ("mse_loss_backward smooth_l1_loss_backward huber_loss_backward soft_margin_loss_backward", _pointwise_gradient),
    ("binary_cross_entropy_backward", same_as("self")),
    ("nll_loss nll_loss2d nll_loss_nd", _of_classes),
    ("nll_loss_forward nll_loss2d_forward", _forward),
    ("nll_loss_backward nll_loss2d_backward", same_as("self")),
    ("cross_entropy_loss", _cross_entropy),
    ("hinge_embedding_loss", _margin("self", "target")),
    ("margin_ranking_loss", _margin("input1", "input2", "target")),
    ("cosine_similarity", _cosine),
    ("multi_margin_loss_backward multilabel_margin_loss_backward", same_as("self")),
    ("multi_margin_loss", _of_margins),
    ("_ctc_loss", _of_sequences),
    ("_ctc_loss_backward", same_as("log_probs")),
)
