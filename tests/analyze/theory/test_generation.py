import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ridgeline.analyze.theory import closed_forms
from ridgeline.analyze.theory import generation as theory
from ridgeline.analyze.theory import output as theory_table
from ridgeline.analyze.theory.closed_forms import Component, Convention, Cost, Work, components
from ridgeline.analyze.theory.generation import Prediction, Total, floor_s, predict, totals
from ridgeline.capture.configuration import points as configuration
from ridgeline.capture.configuration.point import Point
from ridgeline.capture.configuration.presets import PRESETS, Shape
from ridgeline.capture.errors import ConfigError
from ridgeline.capture.forecast import forwards
from ridgeline.capture.forecast.roofs import Roofs

LLAMA, LLADA = PRESETS["llama-3-8b"], PRESETS["llada-8b"]
DATA = Path(__file__).parents[2] / "data"
ROOFS = Roofs(of="a device", compute={"bf16": 100e12, "fp32": 10e12}, bytes_per_s=1e12)
MODES = ("ar", "dlm_full", "dlm_semi_ar", "dlm_block_prefix", "dlm_block_dual", "dlm_block_causal")


def one(predictions: list[Prediction], kind: str, component: Component) -> Prediction:
    (found,) = (each for each in predictions if (each.kind, each.component) == (kind, component))
    return found


def llama(prompt: int, convention: Convention = "as_authored") -> list[Prediction]:
    """A prefill and the one decoding step after it."""
    return predict(LLAMA, mode="ar", prompt=prompt, generate=2, convention=convention)


def llada(length: int, convention: Convention = "as_authored") -> Prediction:
    predictions = predict(LLADA, mode="dlm_full", prompt=length - 32, generate=32, convention=convention)
    return one(predictions, "denoise", "all")


def point(**values: Any) -> Point:
    (found,) = configuration.points({"model": "tiny-llada", "prompt_tokens": 48, "generated_tokens": 32, **values})
    return found


# The authors' figures, to the digits given


@pytest.mark.parametrize(
    ("kind", "component", "intensity"),
    [
        ("prefill", "linear", "1110.3567"),
        ("prefill", "attention", "1529.7000"),
        ("prefill", "all", "708.9658"),
        ("decode", "linear", "0.9996"),
        ("decode", "attention", "3.9922"),
        ("decode", "all", "1.0519"),
    ],
)
def test_intensities_of_llama_at_2048_as_authored(kind: str, component: Component, intensity: str) -> None:
    found = one(llama(2048), kind, component)
    assert found.context == (2048 if kind == "prefill" else 2049)
    assert f"{found.intensity:.4f}" == intensity


@pytest.mark.parametrize(
    ("prompt", "intensity"), [(160, "130.5025"), (256, "194.5236"), (640, "383.3396"), (2176, "726.7953")]
)
def test_intensities_of_llama_prefills_as_authored(prompt: int, intensity: str) -> None:
    assert f"{one(llama(prompt), 'prefill', 'all').intensity:.4f}" == intensity


@pytest.mark.parametrize(
    ("length", "intensity"), [(160, "138.8347"), (256, "205.9421"), (640, "400.2126"), (2176, "743.0780")]
)
def test_intensities_of_llada_full_steps_as_authored(length: int, intensity: str) -> None:
    assert f"{llada(length).intensity:.4f}" == intensity


BLOCKS = {8: "7.94", 16: "15.8", 32: "31.1", 64: "60.6", 128: "114.9"}


@pytest.mark.parametrize(("block", "text"), BLOCKS.items())
def test_intensities_of_cached_blocks_as_authored(block: int, text: str) -> None:
    digits = len(text.partition(".")[2])
    at = {
        length: one(
            predict(
                LLADA,
                mode="dlm_block_dual",
                prompt=length - block,
                generate=block,
                block=block,
                convention="as_authored",
            ),
            "reuse",
            "all",
        ).intensity
        for length in (256, 512, 1024, 2048, 4096)
    }
    assert f"{at[2048]:.{digits}f}" == text
    assert all(intensity == pytest.approx(float(text), rel=0.02) for intensity in at.values())


def test_intensity_of_llama_attention_corrected() -> None:
    assert f"{one(llama(2048, 'corrected'), 'prefill', 'attention').intensity:.1f}" == "819.6"


def test_authors_peculiarities() -> None:
    """Softmax moves nothing, no sampling, a head of the last token of LLaMA and none of LLaDA."""
    authored = llama(2048)
    assert one(authored, "prefill", "softmax").bytes == 0
    assert one(authored, "prefill", "softmax").intensity == float("inf")
    assert one(authored, "prefill", "head").flops == 2 * 4096 * 128256
    assert {"sampling", "embedding"}.isdisjoint(each.component for each in authored)
    diffusion = predict(LLADA, mode="dlm_full", prompt=128, generate=32, convention="as_authored")
    assert one(diffusion, "denoise", "head").flops == one(diffusion, "denoise", "head").bytes == 0


def test_every_component_is_its_parts_sum() -> None:
    work = Work(query=3, context=5, pairs=15, logits=3, sampled=2, confident=True, sequences=2)
    for convention in closed_forms.CONVENTIONS:
        parts = closed_forms.PARTS[convention](LLAMA, work)
        found = components(LLAMA, work, convention)
        assert found["all"] == sum(parts.values(), Cost())
        assert found["linear"] == parts["projections"] + parts["head"]
        assert found["products"] == parts["projections"] + parts["head"] + parts["attention"]
        assert set(found) - {"linear", "products", "all"} == set(parts) - {"projections"}


# The forward formula


def test_linear_parameters_of_both_8b_shapes() -> None:
    assert [shape.layers * shape.layer_parameters for shape in (LLAMA, LLADA)] == [6_979_321_856] * 2


@pytest.mark.parametrize("batch", [1, 3])
def test_products_are_the_forward_formula(batch: int) -> None:
    n, d, layers, vocabulary = 1152, 4096, 32, 126464
    predictions = predict(LLADA, mode="dlm_full", prompt=1024, generate=128, batch=batch, steps=1)
    by_hand = batch * (2 * n * 6_979_321_856 + 4 * n * n * d * layers + 2 * n * d * vocabulary)
    assert one(predictions, "denoise", "products").flops == by_hand


def small(**values: int) -> Shape:
    """A shape small enough to count by hand."""
    return msgspec.structs.replace(PRESETS["tiny-llama"], hidden=8, heads=4, kv_heads=2, ffn=6, **values)


def seeing(length: int, block: int | None) -> Iterator[tuple[int, int]]:
    """Pairs that see each other: causal, or in blocks that end where the sequence does."""
    for query in range(length):
        for key in range(length):
            cut = 1 if block is None else block
            if (key - length) // cut <= (query - length) // cut:
                yield query, key


@pytest.mark.parametrize("length", [1, 2, 5, 9])
def test_causal_attention_is_counted_exactly(length: int) -> None:
    shape = small(layers=1)
    flops = 0
    for _ in range(shape.heads):
        for _ in seeing(length, None):
            flops += 2 * shape.head_dim  # its score
            flops += 2 * shape.head_dim  # its part of the output
    (attention,) = (
        each for each in predict(shape, mode="ar", prompt=length, generate=1) if each.component == "attention"
    )
    assert attention.flops == flops


@pytest.mark.parametrize("prompt", range(1, 10))
@pytest.mark.parametrize("block", [1, 2, 4])
def test_block_causal_prefill_is_counted_exactly(prompt: int, block: int) -> None:
    shape = small(layers=2)
    predictions = predict(shape, mode="dlm_block_causal", prompt=prompt, generate=2 * block, block=block)
    attention = one(predictions, "prefill", "attention")
    pairs = len(list(seeing(prompt, block)))
    assert closed_forms.block_causal_pairs(prompt, block) == pairs
    assert attention.flops == 4 * pairs * shape.heads * shape.head_dim * shape.layers


def test_authors_discount_by_brute_force() -> None:
    """For each key-value head: 2·hd for each pair above the diagonal, and 2·L for each above that of the width."""
    shape, length = small(layers=1), 5
    width = shape.head_dim
    spared = scores = 0
    for _ in range(shape.kv_heads):
        above = [(q, k) for q in range(length) for k in range(length) if k > q]
        spared += sum(2 * width for _ in above) + sum(2 * length for a in range(width) for b in range(width) if b > a)
        scores += len(above)
    found = predict(shape, mode="ar", prompt=length, generate=1, convention="as_authored")
    assert one(found, "prefill", "attention").flops == 4 * length * length * shape.heads * width - spared
    assert one(found, "prefill", "softmax").flops == length * length * shape.heads - scores


# One layer by hand


def test_the_rest_of_a_layer_corrected() -> None:
    shape = small(layers=1, vocabulary=10)  # heads of 2: 8 wide, keys and values 4
    work = Work(query=3, context=3, pairs=6, logits=1, sampled=1, sequences=2)
    assert closed_forms.corrected(shape, work) == {
        "projections": Cost(2 * 6 * (2 * 64 + 2 * 32 + 3 * 48), 2 * (336 + 6 * (7 * 8 + 2 * 8 + 2 * 4 + 3 * 6))),
        "head": Cost(2 * 2 * 80, 2 * (2 * 8 + 80 + 2 * 10)),
        "attention": Cost(4 * 6 * 8 * 2, 2 * 2 * 2 * (3 * 8 + 3 * 4)),
        "softmax": Cost(4 * 6 * 4 * 2, 0),
        "norm": Cost(4 * 8 * (2 * 6 + 2), 2 * (2 * (2 * 6 * 8 + 8) + 2 * 2 * 8 + 8)),
        "rotary": Cost(3 * 6 * 12, 2 * (2 * 6 * 12 + 2 * 3 * 2)),
        "pointwise": Cost(2 * 6 * 8 + 4 * 36 + 36, 2 * (2 * 3 * 6 * 8 + 2 * 36 + 3 * 36)),
        "embedding": Cost(0, 2 * 2 * 6 * 8),
        "sampling": Cost(0, 2 * 2 * 10),
    }


def test_biases_are_read_with_their_weights() -> None:
    dream = PRESETS["tiny-dream"]
    plain = msgspec.structs.replace(dream, qkv_bias=False)
    work = Work(query=1, context=1, pairs=1, logits=1)
    more = closed_forms.corrected(dream, work)["projections"].bytes
    assert more - closed_forms.corrected(plain, work)["projections"].bytes == 2 * 4 * (256 + 2 * 64)


# Against the forwards that capture runs


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("guidance", [0.0, 1.5])
@pytest.mark.parametrize("model", ["tiny-llama", "tiny-llada", "tiny-dream"])
def test_products_agree_with_capture(mode: str, guidance: float, model: str) -> None:
    """FLOPs exactly; bytes but for the embedding rows, which capture counts once among them."""
    each = point(model=model, mode=mode, batch=2, block=8, steps=16, guidance=guidance)
    products = [found for found in theory.predict_point(each, "corrected") if found.component == "products"]
    expected = forwards.forwards(each)
    assert sum(found.flops for found in products) == sum(f.count * forwards.flops(f, each) for f in expected)
    rows_bytes = sum(found.query * found.forwards for found in products) * each.sequences * 256 * 2
    assert sum(found.bytes for found in products) + rows_bytes == sum(
        f.count * forwards.dram_bytes(f, each) for f in expected
    )
    assert sum(found.forwards for found in products) == sum(f.count for f in expected)


def test_the_head_follows_the_mode() -> None:
    """Of positions: the last in `ar`, all processed ones in diffusion, none where keys and values are only written."""
    table = {
        (mode, each.kind, each.query): each.flops / each.forwards / (2 * 256 * 4096)
        for mode in MODES
        for each in theory.predict_point(point(mode=mode, block=16, steps=4), "corrected")
        if each.component == "head"
    }
    assert table == {
        ("ar", "prefill", 48): 1, ("ar", "decode", 1): 1,
        ("dlm_full", "denoise", 80): 80,
        ("dlm_semi_ar", "denoise", 64): 64, ("dlm_semi_ar", "denoise", 80): 80,
        ("dlm_block_prefix", "refresh", 80): 80,
        ("dlm_block_prefix", "reuse", 32): 32, ("dlm_block_prefix", "reuse", 16): 16,
        ("dlm_block_dual", "refresh", 80): 80, ("dlm_block_dual", "reuse", 16): 16,
        ("dlm_block_causal", "prefill", 48): 0, ("dlm_block_causal", "reuse", 16): 16,
        ("dlm_block_causal", "commit", 16): 0,
    }  # fmt: skip


def test_sampling_reads_the_logits_it_needs() -> None:
    row = 4096 * 2
    assert one(theory.predict_point(point(mode="ar"), "corrected"), "prefill", "sampling").bytes == row
    full = one(theory.predict_point(point(mode="dlm_full", steps=1), "corrected"), "denoise", "sampling")
    assert (full.flops, full.bytes) == (3 * 80 * 4096, 80 * row)
    dual = theory.predict_point(point(mode="dlm_block_dual", block=16, steps=2), "corrected")
    assert one(dual, "refresh", "sampling").bytes == 2 * 16 * row


@given(st.integers(1, 40), st.integers(2, 40), st.integers(1, 3))
def test_decoding_steps_taken_together_are_their_sum(prompt: int, generate: int, batch: int) -> None:
    shape = small(layers=1)
    for convention in closed_forms.CONVENTIONS:
        together = predict(shape, mode="ar", prompt=prompt, generate=generate, batch=batch, convention=convention)
        each = [
            predict(shape, mode="ar", prompt=context, generate=2, batch=batch, convention=convention)
            for context in range(prompt, prompt + generate - 1)
        ]
        for component in ("all", "attention", "softmax", "linear"):
            found = one(together, "decode", component)
            alone = [one(predictions, "decode", component) for predictions in each]
            assert found.flops == sum(a.flops for a in alone)
            assert found.bytes == sum(a.bytes for a in alone)
            assert found.context == sum(a.context for a in alone) / len(alone)
            assert found.forwards == generate - 1


def test_profiled_decoding_steps_stand_alone_and_the_sum_stays() -> None:
    each = point(mode="ar")
    together = theory.predict_point(each, "corrected")
    apart = theory.predict_point(each, "corrected", contexts=(60, 61, 79, 1000))
    decoding = [(p.context, p.forwards) for p in apart if (p.kind, p.component) == ("decode", "all")]
    assert decoding == [(54, 11), (60, 1), (61, 1), (70, 17), (79, 1)]
    for component in ("all", "attention"):
        ours = [p for p in apart if (p.kind, p.component) == ("decode", component)]
        assert sum(p.bytes for p in ours) == one(together, "decode", component).bytes
        assert sum(p.flops for p in ours) == one(together, "decode", component).flops
    (alone,) = (p for p in apart if (p.context, p.component) == (61, "attention"))
    assert alone.flops == 4 * 61 * 256 * 4


def test_equal_forwards_are_one_prediction() -> None:
    found = predict(LLADA, mode="dlm_block_dual", prompt=64, generate=128, block=32, steps=16)
    alls = [(each.kind, each.query, each.context, each.forwards) for each in found if each.component == "all"]
    assert alls == [("refresh", 192, 192, 4), ("reuse", 32, 192, 12)]


# What grows with what


def whole(mode: str, **values: int) -> Total:
    sizes: dict[str, int] = {"prompt": 64, "generate": 64, "batch": 1} | values
    if mode != "ar":
        sizes = {"block": 16, "steps": 32} | sizes
    predictions = predict(PRESETS["tiny-llada"], mode=mode, **sizes)  # type: ignore[arg-type]
    (found,) = (each for each in totals(predictions, ROOFS, by_kind=False) if each.component == "all")
    return found


LONGER = ({"prompt": 80}, {"generate": 128, "steps": 64}, {"batch": 2}, {"steps": 64})


@pytest.mark.parametrize("mode", MODES[1:])
@pytest.mark.parametrize("longer", LONGER, ids=str)
def test_more_diffusion_takes_more(mode: str, longer: dict[str, int]) -> None:
    less, more = whole(mode), whole(mode, **longer)
    assert (more.flops > less.flops, more.bytes > less.bytes, more.floor_s > less.floor_s) == (True, True, True)


@pytest.mark.parametrize("longer", [{"prompt": 80}, {"generate": 128}, {"batch": 2}], ids=str)
def test_more_autoregression_takes_more(longer: dict[str, int]) -> None:
    less, more = whole("ar"), whole("ar", **longer)
    assert (more.flops > less.flops, more.bytes > less.bytes, more.floor_s > less.floor_s) == (True, True, True)


def test_batches_raise_intensity_but_not_that_of_attention() -> None:
    def decode(batch: int, component: Component) -> float:
        return one(predict(LLAMA, mode="ar", prompt=1024, generate=2, batch=batch), "decode", component).intensity

    assert [decode(batch, "linear") for batch in (1, 4, 16)] == pytest.approx([1, 4, 16], rel=0.01)
    assert decode(16, "attention") == decode(1, "attention")


def test_attention_of_a_decoding_step_nears_the_query_heads_of_a_key_value_head() -> None:
    for shape, grouped in ((LLAMA, 4), (LLADA, 1)):
        found = one(predict(shape, mode="ar", prompt=8192, generate=2), "decode", "attention")
        assert found.intensity == pytest.approx(grouped, rel=0.001)


def linear_intensity(mode: str, kind: str, convention: Convention = "as_authored", **sizes: int) -> float:
    found = predict(LLADA, mode=mode, convention=convention, **sizes)  # type: ignore[arg-type]
    return next(each for each in found if (each.kind, each.component) == (kind, "linear")).intensity


@pytest.mark.parametrize("convention", closed_forms.CONVENTIONS)
@pytest.mark.parametrize(
    ("mode", "kind", "sizes", "more", "growth"),
    [
        ("ar", "prefill", {"prompt": 32, "generate": 2}, {"prompt": 64}, 2),
        ("ar", "decode", {"prompt": 32, "generate": 2}, {"prompt": 64}, 1),
        ("dlm_full", "denoise", {"prompt": 16, "generate": 16}, {"prompt": 48}, 2),
        ("dlm_block_dual", "reuse", {"prompt": 64, "generate": 64, "block": 16}, {"block": 32}, 2),
        ("dlm_block_dual", "reuse", {"prompt": 64, "generate": 64, "block": 16}, {"prompt": 2048, "generate": 512}, 1),
        ("dlm_block_dual", "refresh", {"prompt": 16, "generate": 16, "block": 8}, {"prompt": 48}, 2),
        ("dlm_block_prefix", "reuse", {"prompt": 64, "generate": 32, "block": 8}, {"generate": 64}, 2),
        ("dlm_block_prefix", "reuse", {"prompt": 64, "generate": 32, "block": 8}, {"block": 16}, 1),
    ],
)
def test_intensities_grow_as_the_paper_says(
    mode: str, kind: str, sizes: dict[str, int], more: dict[str, int], growth: float, convention: Convention
) -> None:
    """Where lengths are small beside the width: with all that is processed, and with nothing else."""
    less = linear_intensity(mode, kind, convention, **sizes)
    assert linear_intensity(mode, kind, convention, **{**sizes, **more}) / less == pytest.approx(growth, rel=0.05)


# Least times


def test_the_ideal_gap_of_a_cached_block() -> None:
    """The products at an H200's measured 801 TFLOP/s and 4.46 TB/s: 6.4 to 1, and 3.4 ms for a decoding step."""
    roofs = Roofs(of="NVIDIA H200, measured", compute={"bf16": 801e12}, bytes_per_s=4.46e12)
    sizes: dict[str, int] = {"prompt": 1024, "generate": 128, "block": 32}
    naive = one(predict(LLADA, mode="dlm_full", **sizes), "denoise", "products")  # type: ignore[arg-type]
    cached = one(predict(LLADA, mode="dlm_block_dual", **sizes), "reuse", "products")  # type: ignore[arg-type]
    assert f"{naive.flops / naive.forwards / 1e12:.1f}" == "18.0"
    assert cached.bytes / cached.forwards == pytest.approx(15.7e9, rel=0.01)
    gap = floor_s(naive, roofs) / naive.forwards / (floor_s(cached, roofs) / cached.forwards)
    assert gap == pytest.approx(6.4, rel=0.015)
    decode = one(predict(LLAMA, mode="ar", prompt=1024, generate=2), "decode", "products")
    assert f"{floor_s(decode, roofs) * 1e3:.1f}" == "3.4"


def test_floor_is_the_slower_of_operations_and_bytes() -> None:
    def made(flops: int, moved: int) -> Prediction:
        return Prediction(
            convention="corrected",
            kind="decode",
            component="all",
            query=1,
            context=1,
            forwards=1,
            flops=flops,
            bytes=moved,
        )

    assert floor_s(made(200 * 10**12, 10**12), ROOFS) == 2.0
    assert floor_s(made(200 * 10**12, 3 * 10**12), ROOFS) == 3.0
    assert floor_s(made(200 * 10**12, 0), ROOFS, "fp32") == 20.0


def test_floor_of_unlike_steps_is_the_sum_of_theirs() -> None:
    """Where some are bound by operations and others by bytes, the floor of their sums would be less."""
    found = predict(LLADA, mode="dlm_block_dual", prompt=1024, generate=128, block=32)
    refresh, reuse = one(found, "refresh", "all"), one(found, "reuse", "all")
    (total,) = (each for each in totals(found, ROOFS, by_kind=False) if each.component == "all")
    assert total.floor_s == pytest.approx(refresh.flops / 100e12 + reuse.bytes / 1e12)
    assert total.floor_s > 1.05 * max(total.flops / 100e12, total.bytes / 1e12)
    steps = {(each.kind, each.component): each for each in totals(found, ROOFS, by_kind=True)}
    assert steps["reuse", "all"].bytes == reuse.bytes / 124
    assert steps["reuse", "all"].floor_s == pytest.approx(reuse.bytes / 124 / 1e12)
    assert steps["reuse", "all"].intensity == pytest.approx(reuse.intensity)


@pytest.mark.parametrize(
    ("name", "of", "flops_per_s", "bytes_per_s"),
    [
        ("NVIDIA RTX A6000", "NVIDIA RTX A6000", 154.8e12, 768e9),
        ("a6000", "NVIDIA RTX A6000", 154.8e12, 768e9),
        ("A100-80GB", "NVIDIA A100 SXM 80GB", 312e12, 2.039e12),
        ("A100", "NVIDIA A100 SXM 80GB", 312e12, 2.039e12),
        ("NVIDIA A100-SXM4-80GB", "NVIDIA A100 SXM 80GB", 312e12, 2.039e12),
        ("a100 pcie 80gb", "NVIDIA A100 PCIe 80GB", 312e12, 1.935e12),
        ("H100", "NVIDIA H100 SXM", 989.4e12, 3.35e12),
        ("H200", "NVIDIA H200", 989.4e12, 4.8e12),
        ("MI300X", "AMD Instinct MI300X", 1307.4e12, 5.3e12),
    ],
)
def test_devices_by_name(name: str, of: str, flops_per_s: float, bytes_per_s: float) -> None:
    roofs = theory_table.roofs_of(name)
    assert roofs.of == f"{of} by its datasheet"
    assert roofs.flops_per_s("fp16") == roofs.flops_per_s("bf16") == flops_per_s
    assert roofs.bytes_per_s == bytes_per_s


def test_of_several_devices_the_one_whose_whole_name_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Integer rates are no FLOP/s."""

    def entry(device: str, bandwidth: float) -> dict[str, Any]:
        rates: list[tuple[Any, ...]] = [
            ("compute", None, "fp16", 1e12, "FLOP/s"),
            ("compute", None, "int8", 2e12, "OP/s"),
        ]
        rates.append(("bandwidth", "dram", "", bandwidth, "byte/s"))
        names = ("resource", "level", "precision", "value", "unit_of_value")
        return {"device": device, "match": ["^x$"], "ceilings": [dict(zip(names, r, strict=True)) for r in rates]}

    monkeypatch.setattr(
        "ridgeline.warehouse.datasheets.devices", lambda: [entry("NVIDIA T9 SXM", 3e12), entry("NVIDIA T9", 1e12)]
    )
    roofs = theory_table.roofs_of("t9")
    assert (roofs.of, roofs.bytes_per_s) == ("NVIDIA T9 by its datasheet", 1e12)
    assert roofs.compute == {"fp16": 1e12}


def test_times_of_the_papers_devices() -> None:
    """A decoding step reads its bytes, a full diffusion step runs at the dense peak."""
    a6000, a100 = map(theory_table.roofs_of, ("A6000", "A100"))
    decode = one(llama(2048), "decode", "all")
    assert floor_s(decode, a6000) == decode.bytes / 768e9 == pytest.approx(19.9e-3, rel=0.001)
    assert floor_s(decode, a100) == decode.bytes / 2.039e12 == pytest.approx(7.50e-3, rel=0.001)
    full = llada(2176, "corrected")
    assert floor_s(full, a6000, "fp16") == full.flops / full.forwards * 32 / 154.8e12
    assert floor_s(full, a100, "fp16") == full.flops / 312e12


def test_measured_ceilings_are_roofs_as_well(tmp_path: Path) -> None:
    path = tmp_path / "h200.json"
    stored = json.loads((DATA / "h200/ceilings.json").read_text())
    path.write_text(json.dumps(stored))
    roofs = theory_table.roofs_of(str(path))
    best = max(r["value"] for r in stored["ceilings"] if (r["resource"], r["precision"]) == ("compute", "bf16"))
    assert roofs.flops_per_s("bf16") == best
    assert roofs.of == f"{stored['device']} as measured in h200.json"
    path.write_text('{"device": "x", "ceilings": [{"resource": "latency"}]}')
    with pytest.raises(ConfigError, match=r"is no ceilings file"):
        theory_table.roofs_of(str(path))
    with pytest.raises(ConfigError, match=r"cannot be read: No such file"):
        theory_table.roofs_of(str(tmp_path / "none.json"))


# Refusals, and what is printed


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"prompt": 0}, "prompt = 0; expected at least 1."),
        ({"block": 5}, "block = 5 does not divide generate = 32."),
        ({"block": 8, "steps": 6}, "steps = 6; expected a multiple of the 4 blocks, 32 at most."),
        ({"steps": 64}, "steps = 64; expected a multiple of the 1 blocks, 32 at most."),
    ],
)
def test_lengths_that_cannot_be(values: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        predict(LLADA, mode="dlm_full", **{"prompt": 32, "generate": 32, **values})  # type: ignore[arg-type]
    assert str(caught.value) == message


def printed(**values: Any) -> str:
    sizes = {"model": "llama-3-8b", "mode": "ar", "prompt": 2048, "generate": 2, "device": "A6000"}
    return theory_table.theory(**{**sizes, **values})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model": "llama-9"}, 'theory: model = "llama-9"; expected one of'),
        ({"mode": "dlm"}, 'theory: mode = "dlm"; expected one of ar,'),
        ({"prompt": 0}, "theory: prompt_tokens = 0; expected an integer from 1"),
        ({"mode": "dlm_full", "block": 3}, "theory: block = 3 does not divide"),
        ({"prompt": 200_000}, "exceeds the 131072 positions"),
        ({"device": "abacus"}, "theory: device = abacus has no datasheet; expected"),
        ({"device": "nvidia"}, "theory: device = nvidia has no datasheet; expected"),
        ({"output_format": "xml"}, "format = xml; expected one of table, csv, json."),
        ({"model": "tiny-diffusion-gemma", "mode": "dlm_block_causal"}, "expected a dense decoder"),
    ],
)
def test_wrong_values_are_refused_in_a_sentence(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        printed(**values)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("device", "line"),
    [
        ("A6000", "NVIDIA RTX A6000 by its datasheet: 154.8 TFLOP/s and 0.768 TB/s, which meet at 201.6 FLOP/byte"),
        ("A100", "NVIDIA A100 SXM 80GB by its datasheet: 312.0 TFLOP/s and 2.039 TB/s, which meet at 153.0 FLOP/byte"),
    ],
)
@pytest.mark.parametrize(("model", "mode", "block"), [("llama-3-8b", "ar", None), ("llada-8b", "dlm_block_dual", 32)])
def test_the_papers_models_on_its_own_devices(device: str, line: str, model: str, mode: str, block: int | None) -> None:
    text = printed(device=device, model=model, mode=mode, block=block, prompt=1024, generate=128)
    assert text.splitlines()[1] == f"{line}; a step is the mean of its kind"


def test_table_has_the_conventions_side_by_side() -> None:
    lines = printed().splitlines()
    assert lines[0] == "llama-3-8b, ar: 2048 prompt and 2 generated tokens, batch 1, bf16"
    assert lines[1].startswith("NVIDIA RTX A6000 by its datasheet: 154.8 TFLOP/s and 0.768 TB/s")
    assert [line for line in lines if line and line[0] != " " and "forward" in line] == [
        "prefill, 1 forward",
        "decode, 1 forward",
        "generation, 2 forwards",
    ]
    cells = {line[:22].strip(): line[22:].split() for line in lines[5 : lines.index("decode, 1 forward")] if line}
    assert cells["linear, with head"][2] == cells["linear, with head"][6] == "1110.3567"
    assert cells["attention"] == [
        "2053.129",
        "1.3422",
        "1529.7000",
        "13.2631",
        "1100.048",
        "1.3422",
        "819.6000",
        "7.1063",
    ]
    assert cells["softmax"][2] == "-"
    assert cells["sampling"][:4] == ["-"] * 4
    assert cells["all"][2] == "708.9658"


def test_csv_and_json_say_the_same() -> None:
    found = json.loads(printed(output_format="json"))
    text = printed(output_format="csv").splitlines()
    assert text[0].split(",") == list(theory_table.COLUMNS) == list(found[0])
    assert len(text) == len(found) + 1 == 3 * (9 + 11) + 1
    (row,) = (
        r for r in found if (r["convention"], r["kind"], r["component"]) == ("as_authored", "decode", "attention")
    )
    assert f"{row['intensity']:.4f}" == "3.9922"
    assert row["floor_s"] == row["bytes"] / 768e9
    assert {r["kind"] for r in found if r["scope"] == "generation"} == {None}
    assert {r["intensity"] for r in found if r["component"] == "softmax"} == {None}


@pytest.mark.process
def test_neither_torch_nor_a_warehouse_is_imported() -> None:
    script = (
        "import sys; from ridgeline.analyze.theory.output import theory;"
        "theory(model='llada-8b', mode='dlm_full', prompt=64, generate=32, device='A100');"
        "print(sorted({'torch', 'duckdb', 'polars', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]
    )
    assert done.stdout.strip() == "[]"
