"""Decoders: the forward against a plain one and the library's, in every layout, fused and not, at several depths."""

from typing import Any

import pytest
import torch
from torch import Tensor

from ridgeline.capture.configuration.presets import PRESETS
from ridgeline.capture.decoder.attention import View
from ridgeline.capture.decoder.decoder import Decoder, empty_network, network_config, random_decoder
from tests.capture import reference

TOLERANCE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5}
NAMES = ["tiny-llama", "tiny-llada", "tiny-dream"]
TOKENS = torch.randint(0, 4000, (2, 11), generator=torch.Generator().manual_seed(3))


def make(name: str, *, fused: bool = False) -> Decoder:
    decoder = random_decoder(PRESETS[name], torch.float32, torch.device("cpu"), capacity=32, seed=1, fused=fused)
    for parameter_name, weight in decoder.network.named_parameters():
        if parameter_name.endswith("norm.weight"):
            weight.uniform_(0.5, 1.5)
    return decoder


def causal(length: int) -> Tensor:
    return torch.ones(length, length, dtype=torch.bool).tril()


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sees", ["causal", "all", "blocks"])
def test_our_forward_is_the_plain_one(name: str, sees: str, fused: bool) -> None:
    decoder = make(name, fused=fused)
    blocks = torch.arange(11) // 3
    mask = {
        "causal": causal(11),
        "all": torch.ones(11, 11, dtype=torch.bool),
        "blocks": blocks[None] <= blocks[:, None],
    }
    view = {"causal": View(causal=True), "all": View(), "blocks": View(mask=mask["blocks"])}[sees]
    actual = decoder.forward(TOKENS, decoder.positions[:11], view)
    weights = decoder.network.state_dict()
    for row, tokens in zip(actual, TOKENS, strict=True):
        plain = reference.logits(weights, decoder.shape, tokens, mask[sees])
        if decoder.shape.shifted:
            plain = torch.cat([plain[:1], plain[:-1]])
        torch.testing.assert_close(row, plain, **TOLERANCE)


@pytest.mark.parametrize("name", NAMES)
def test_our_forward_is_the_library_s(name: str) -> None:
    decoder = make(name)
    library = empty_network(decoder.shape, torch.float32, torch.device("cpu"), capacity=32)
    library.load_state_dict(decoder.network.state_dict())
    expected = library(input_ids=TOKENS, use_cache=False).logits
    actual = decoder.forward(TOKENS, decoder.positions[:11], View(causal=True))
    if decoder.shape.shifted:
        actual = torch.cat(
            [actual[:, 1:], decoder.forward(TOKENS, decoder.positions[:11], View(causal=True), last=True)], 1
        )
        expected = expected[:, : actual.shape[1]]
    torch.testing.assert_close(actual, expected, **TOLERANCE)


def test_fused_weights_are_the_same_memory() -> None:
    apart, fused = make("tiny-llama"), make("tiny-llama", fused=True)
    assert apart.nbytes == fused.nbytes
    attention = fused.network.model.layers[0].self_attn
    attention.q_proj.weight.zero_()
    attention.k_proj.weight.zero_()
    projected: list[Tensor] = []

    class Recording(View):
        def attend(self, query: Tensor, key: Tensor, value: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
            projected.extend((query, key, value))
            return query, key, value

    attention(torch.ones(1, 1, 256), fused.rotary(fused.positions[:1]), Recording())
    query, key, value = projected
    assert not query.any()
    assert not key.any()
    assert value.any()


def test_a_shallower_decoder_stops_early() -> None:
    decoder = make("tiny-llada")
    weights = {name: weight for name, weight in decoder.network.state_dict().items() if ".layers.3." not in name}
    with decoder.shallower(3):
        actual = decoder.forward(TOKENS, decoder.positions[:11], View())
        assert len(decoder.cache(batch=1, capacity=4).keys) == 3
    shape = network_config(decoder.shape, 32)
    assert shape.num_hidden_layers == 4 == decoder.depth
    import msgspec

    three = msgspec.structs.replace(decoder.shape, layers=3)
    plain = reference.logits(weights, three, TOKENS[0], torch.ones(11, 11, dtype=torch.bool))
    torch.testing.assert_close(actual[0], plain, **TOLERANCE)


@pytest.mark.parametrize("backend", ["flash", "math"])
def test_a_chosen_backend_changes_nothing_but_the_kernel(backend: str) -> None:
    decoder = make("tiny-llama")
    expected = decoder.forward(TOKENS, decoder.positions[:11], View())
    decoder.attend_by(backend)
    torch.testing.assert_close(decoder.forward(TOKENS, decoder.positions[:11], View()), expected, **TOLERANCE)


def test_a_backend_without_groups_gets_its_keys_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = make("tiny-llama")
    expected = decoder.forward(TOKENS, decoder.positions[:11], View())
    decoder.attend_by("efficient")
    calls = []
    real = torch.nn.functional.scaled_dot_product_attention

    def plain(query: Tensor, key: Tensor, value: Tensor, **keys: Any) -> Tensor:
        calls.append((key.shape[1], keys["enable_gqa"]))
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            return real(query, key, value, **keys)

    monkeypatch.setattr("ridgeline.capture.decoder.attention.F.scaled_dot_product_attention", plain)
    torch.testing.assert_close(decoder.forward(TOKENS, decoder.positions[:11], View()), expected, **TOLERANCE)
    assert calls == [(8, False)] * 4
