from __future__ import annotations

import pytest

from ridgeline.analyze.attribution.labels import NOTHING, Label, parse


@pytest.mark.parametrize(
    ("name", "label"),
    [
        (
            "phase=decode step=3 block=0 kind=reuse query=32 context=1152",
            Label(phase="decode", step=3, block=0, kind="reuse", query=32, context=1152),
        ),
        ("module=model.layers.0.self_attn", Label(module="model.layers.0.self_attn")),
        ("ProfilerStep#551", Label(step=551)),
        ("phase=ar_decode step=x", Label(phase="ar_decode")),
        ("step=99999999999999999999999", Label()),
        ("other=1 phase=decode", Label(phase="decode")),
        ("nccl:all_reduce", NOTHING),
        ("x = 1", NOTHING),
        ("phase=decode and more", NOTHING),
        ("", NOTHING),
    ],
)
def test_names_made_of_pairs_are_labels(name: str, label: Label) -> None:
    assert parse(name) == label
