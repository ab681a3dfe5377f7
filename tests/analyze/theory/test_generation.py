from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ridgeline.analyze.theory import closed_forms
from ridgeline.analyze.theory import generation as theory
from ridgeline.analyze.theory.closed_forms import Component, Convention, Cost, Work, components
from ridgeline.analyze.theory.generation import Total, predict, totals
from ridgeline.capture.configuration.forecast import forwards
from ridgeline.capture.configuration.presets import PRESETS
from ridgeline.capture.configuration.shape import Shape
from tests.analyze.theory.predicted import LLADA, LLAMA, ROOFS, llada, llama, one, point

MODES = ("ar", "dlm_full", "dlm_semi_ar", "dlm_block_prefix", "dlm_block_dual", "dlm_block_causal")


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
