"""Operators with absurd arguments: PyTorch is asked for shapes and does nothing else, or is not asked.

Every 12th operator; every one in an exhaustive run, or every nth by `RIDGELINE_SWEEP=n`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from ridgeline.analyze.pricing.binding import Bound, bind
from ridgeline.analyze.pricing.pricer import Pricer
from ridgeline.analyze.pricing.signature import parse
from tests.analyze.pricing import sweep
from tests.sampling import pick

MM = ("aten::mm", b"[[4, 8], [8, 16]]", b'["float", "float"]', b"", b'["", ""]')
ROOT = Path(__file__).parents[3]
EVERY = int(os.environ.get("RIDGELINE_SWEEP", pick(12, 1)))
NEVER_CALLED = ("aten::set_data", "aten::_add_batch_dim", "aten::_remove_batch_dim")
ENDLESS = (
    *("aten::matrix_power", "aten::round.decimals", "aten::round.decimals_out", "aten::special_round.default"),
    *("aten::special_round.out", "aten::unfold_backward", "aten::unfold_backward.out"),
)
"""PyTorch 2.11 takes as long over these as a number says."""


@pytest.mark.process
def test_absurd_arguments_are_only_priced(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.analyze.pricing.sweep", str(EVERY)],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    priced = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, ""), priced[-1:]
    assert len(priced) > 3_000 // EVERY
    assert list(tmp_path.iterdir()) == []


def absurd(operator: str) -> list[Bound]:
    """Calls of the operator that torch knows, with the arguments of each style."""
    calls = [parse(signature) for overload in overloads(operator) for signature in sweep.signatures(overload)]
    return [bound for call in calls if (bound := bind(call))]


def overloads(operator: str) -> list[Any]:
    name, _, overload_name = operator.removeprefix("aten::").partition(".")
    packet = getattr(torch.ops.aten, name)
    return [getattr(packet, each) for each in packet.overloads() if overload_name in ("", each)]


@pytest.mark.parametrize("operator", NEVER_CALLED + ENDLESS)
def test_what_has_effects_or_never_ends_is_never_called(operator: str) -> None:
    bounds = absurd(operator)
    assert bounds
    assert not any(bound.callable for bound in bounds)


@pytest.mark.exhaustive  # test_pricer asks of one that crashes
@pytest.mark.process
@pytest.mark.usefixtures("pricer_process")
@pytest.mark.parametrize("operator", sweep.CRASH)
def test_what_crashes_costs_its_own_price(operator: str) -> None:
    asked = [signature for overload in overloads(operator) for signature in sweep.signatures(overload)]
    with Pricer() as pricer:
        (honest,) = pricer.price([MM])
        for signature in asked:
            cut, after = pricer.price([signature, MM])
            assert cut.cut_short is None or (cut.price.confidence == "low" and "crashed" in cut.cut_short)
            assert after == honest


@pytest.mark.parametrize("operator", ["aten::round", "aten::mm", "aten::relu", "aten::lstm_cell", "aten::zeros"])
def test_others_are(operator: str) -> None:
    assert any(bound.callable for bound in absurd(operator))
