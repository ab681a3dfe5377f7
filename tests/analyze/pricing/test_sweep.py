"""Operators with absurd arguments: PyTorch is asked for shapes and does nothing else, or is not asked.

`RIDGELINE_SWEEP=1` takes every operator instead of a sample.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from analyze.pricing import meta
from analyze.pricing.signature import parse
from tests.analyze.pricing import sweep

ROOT = Path(__file__).parents[3]
EVERY = int(os.environ.get("RIDGELINE_SWEEP", "12"))
CRASH = (
    "aten::_add_batch_dim", "aten::_nnpack_spatial_convolution", "aten::_remove_batch_dim",
    "aten::_thnn_fused_gru_cell", "aten::_thnn_fused_lstm_cell", "aten::fractional_max_pool2d_backward",
    "aten::quantized_lstm_cell", "aten::_new_zeros_with_same_feature_meta",
)  # fmt: skip
"""PyTorch 2.11 ends the process for some arguments of these."""
ENDLESS = ("aten::matrix_power", "aten::round.decimals", "aten::round.decimals_out", "aten::special_round.default")
ENDLESS += ("aten::special_round.out", "aten::unfold_backward", "aten::unfold_backward.out")
"""And takes as long over these as a number says."""


def test_absurd_arguments_are_only_priced(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.analyze.pricing.sweep", str(EVERY)],
        capture_output=True, text=True, timeout=600, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    priced = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, ""), priced[-1:]
    assert len(priced) > 3_000 // EVERY
    assert list(tmp_path.iterdir()) == []


def absurd(operator: str) -> list[meta.Bound]:
    """Calls of the operator that torch knows, with the arguments of each style."""
    name, _, overload_name = operator.removeprefix("aten::").partition(".")
    packet = getattr(sweep.torch.ops.aten, name)
    overloads = [getattr(packet, each) for each in packet.overloads() if overload_name in ("", each)]
    calls = [parse(signature) for overload in overloads for signature in sweep.signatures(overload)]
    return [bound for call in calls if (bound := meta.bind(call))]


@pytest.mark.parametrize("operator", CRASH + ENDLESS)
def test_what_crashes_or_never_ends_is_never_called(operator: str) -> None:
    bounds = absurd(operator)
    assert bounds
    assert not any(bound.callable for bound in bounds)


@pytest.mark.parametrize("operator", ["aten::round", "aten::mm", "aten::relu", "aten::lstm_cell", "aten::zeros"])
def test_others_are(operator: str) -> None:
    assert any(bound.callable for bound in absurd(operator))
