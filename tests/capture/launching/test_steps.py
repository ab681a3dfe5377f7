"""What a step of an unmodified program is: outermost calls, prefill and decode, training steps, ranges."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.optim.optimizer import Optimizer, _global_optimizer_post_hooks
from torch.profiler import record_function
from torch.utils.checkpoint import checkpoint_sequential
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.t5 import T5Config, T5ForConditionalGeneration

from ridgeline.capture.launching.calls import Calls
from ridgeline.capture.launching.inputs import Reader
from ridgeline.capture.launching.optimizers import Optimizers
from ridgeline.capture.launching.ranges import Ranges
from ridgeline.capture.launching.steps import UNSEEN_AFTER, Steps

from .fakes import Kept


@contextmanager
def watched(pattern: str | None = None) -> Iterator[tuple[Kept, Steps]]:
    """What the program in the block shows."""
    kept = Kept()
    steps = Steps(kept, re.compile(pattern) if pattern else None)
    calls, ranges = Calls(steps), Ranges(steps.opened, steps.closed)
    optimizers = Optimizers(steps.optimizer_made, steps.optimizer_stepped)
    originals = replaced()
    calls.install()
    optimizers.install()
    ranges.install()
    try:
        yield kept, steps
    finally:
        ranges.remove()
        calls.remove()
        optimizers.remove()
    assert replaced() == originals


def replaced() -> tuple[Any, ...]:
    """What the recorder replaces."""
    methods = nn.Module.__call__, record_function.__enter__, record_function.__exit__, Optimizer._patch_step_function
    return *methods, len(_global_optimizer_post_hooks)


class Net(nn.Module):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(width, width), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)  # type: ignore[no-any-return]


class Tokens(nn.Module):
    """A hand-written language model whose positional arguments have names of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(8, 4)

    def forward(self, mask: torch.Tensor | None, idx: torch.Tensor, past: Any = None) -> torch.Tensor:
        return self.table(idx)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def llama() -> Any:
    config = LlamaConfig(
        vocab_size=32, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    model: Any = LlamaForCausalLM(config)
    return model.eval()


def test_generate_is_a_prefill_and_decodes_with_query_and_context(llama: Any) -> None:
    with watched() as (kept, steps), torch.no_grad():
        llama.generate(torch.ones(2, 5, dtype=torch.long), max_new_tokens=3, do_sample=False, pad_token_id=0)
    assert kept.steps == [
        ("prefill", "prefill", {"query": 5, "context": 5, "tokens": 1}),
        ("decode", "decode", {"query": 1, "context": 6, "tokens": 1}),
        ("decode", "decode", {"query": 1, "context": 7, "tokens": 1}),
    ]
    assert kept.ended == 3
    assert steps.seen() == ("ar", 2)


def test_an_encoder_has_no_prefill(llama: Any) -> None:
    with watched() as (kept, steps), torch.no_grad():
        llama(torch.ones(1, 5, dtype=torch.long), use_cache=False)
        llama(inputs_embeds=torch.ones(3, 7, 16), use_cache=False)
    assert kept.steps == [("forward", "forward", {"query": 5}), ("forward", "forward", {"query": 7})]
    assert steps.seen().mode == "forward"


def test_a_decoder_after_an_encoder_has_the_query_of_its_own_tokens() -> None:
    config = T5Config(vocab_size=32, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, decoder_start_token_id=0)
    model = T5ForConditionalGeneration(config).eval()
    with watched() as (kept, _), torch.no_grad():
        model.generate(torch.ones(2, 5, dtype=torch.long), max_new_tokens=2, min_new_tokens=2, do_sample=False)
    # the encoder commits no token
    assert kept.steps[0] == ("forward", "forward", {"query": 5})
    assert [(phase, facts["query"]) for _, phase, facts in kept.steps[1:]] == [("decode", 1), ("decode", 1)]


def test_positional_arguments_count_by_their_names() -> None:
    model = Tokens()
    ids, mask = torch.ones(2, 6, dtype=torch.long), torch.ones(2, 9, dtype=torch.long)
    past = ((torch.ones(2, 1, 3, 4), torch.ones(2, 1, 3, 4)),)
    with watched() as (kept, _), torch.no_grad():
        model(mask, ids)
        model(mask, ids[:, :1])
        model(mask, ids)
        model(None, ids[:, :1])
        model(mask, idx=ids, past=past)
    assert kept.phases == ["forward", "decode", "prefill", "decode", "prefill"]
    assert [facts["query"] for _, _, facts in kept.steps] == [6, 1, 6, 1, 6]


def test_a_call_is_read_by_the_names_of_its_own_way() -> None:
    model = Tokens()
    ids, mask = torch.ones(2, 6, dtype=torch.long), torch.ones(2, 9, dtype=torch.long)
    past = ((torch.ones(2, 1, 3, 4), torch.ones(2, 1, 3, 4)),)

    def forward(self: Any, mask: Any, idx: Any, cache: Any = None) -> None:
        """Has names as Tokens has."""

    read = Reader(forward).read
    ways: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((mask, ids), {}),
        ((), {"idx": ids, "mask": mask}),
        ((None, ids, past), {}),
        ((None,), {"idx": ids, "cache": past}),
        ((mask, ids, None, mask), {"use_cache": True}),
        ((None, ids.float()), {"attention_mask": mask}),
        ((None, ids), {"attention_mask": mask}),
    ]
    expected = [
        *2 * [(6, None, 2, False)], *2 * [(6, 3 + 6, 2, True)], (6, None, 2, True), (None, None, None, False),
        (6, 9, 2, False),
    ]  # fmt: skip
    for _ in range(2):
        assert [read(*way) for way in ways] == expected
    with watched() as (_, steps), torch.no_grad():
        model(mask, ids)
        assert len(steps._models) == 1
        del model
        assert steps._models == {}, "another module may get its id"


def test_only_outermost_modules_with_parameters_are_steps() -> None:
    net, loss = Net(), nn.MSELoss()
    with watched() as (kept, _), torch.no_grad():
        loss(net(torch.ones(2, 4)), torch.ones(2, 4))
        nn.Sequential(loss.__class__(), net)[1](torch.ones(2, 4))
    assert kept.phases == ["forward", "forward"]


def test_several_models_of_a_program_are_kinds_of_their_own() -> None:
    with watched() as (kept, _), torch.no_grad():
        Net()(torch.ones(1, 4))
        nn.Linear(4, 4)(torch.ones(1, 4))
    assert [kind for kind, _, _ in kept.steps] == ["forward", "Linear"]


def test_a_table_of_embeddings_is_no_decoder_and_its_batch_not_that_of_most_steps(llama: Any) -> None:
    with watched() as (kept, steps), torch.no_grad():
        llama.get_input_embeddings()(torch.ones(7, 1, dtype=torch.long))
        for _ in range(2):
            Net()(torch.ones(1, 4))
    assert [(kind, phase) for kind, phase, _ in kept.steps] == [("forward", "forward")] + [("Net", "forward")] * 2
    assert steps.seen() == ("forward", None)


def test_two_models_that_train_are_kinds_of_their_own() -> None:
    class Other(Net):
        pass

    nets = Net(), Other()
    optimizers = [torch.optim.SGD(net.parameters()) for net in nets]
    with watched() as (kept, _):
        for net, optimizer in [*zip(nets, optimizers, strict=True)] * 2:
            net(torch.ones(2, 4)).sum().backward()
            optimizer.step()
    assert [(phase, kind) for kind, phase, _ in kept.steps[2:]] == [("train", "Net"), ("train", "Other")]


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_checkpoint_that_computes_again_in_the_backward_pass_is_no_step(reentrant: bool) -> None:
    class Deep(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return checkpoint_sequential(list(self), len(self), x, use_reentrant=reentrant)  # type: ignore[no-untyped-call, no-any-return]

    net = Deep(*(Net() for _ in range(UNSEEN_AFTER + 2)))
    optimizer = torch.optim.SGD(net.parameters())
    with watched() as (kept, _):
        for _ in range(2):
            net(torch.ones(2, 4, requires_grad=True)).sum().backward()
            optimizer.step()
    assert (kept.phases, kept.ended, kept.errors) == (["train"] * 2, 2, [])


def test_a_graph_that_is_traced_holds_nothing_of_the_recorder() -> None:
    net, inputs = Net().requires_grad_(False), torch.ones(2, 4)
    with watched() as (kept, _):
        torch.jit.trace(net, (inputs,), check_trace=False)  # type: ignore[no-untyped-call]
        torch.fx.symbolic_trace(nn.Sequential(net))
        make_fx(net)(inputs)
        with FakeTensorMode(allow_non_fake_inputs=True):
            net(inputs)
    assert kept.steps == []


def test_a_call_that_began_beside_a_step_of_another_thread_has_no_steps_inside() -> None:
    begun, ended = threading.Event(), threading.Event()

    class Waits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = Net()

        def forward(self) -> None:
            begun.set()
            ended.wait(10)
            self.net(torch.ones(1, 4))

    class Steps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = Net()

        def forward(self) -> None:
            thread.start()
            begun.wait(10)

    thread = threading.Thread(target=Waits().requires_grad_(False))
    with watched() as (kept, _):
        Steps().requires_grad_(False)()
        ended.set()
        thread.join()
    assert len(kept.steps) == 1


def test_a_training_step_lasts_until_the_optimizers_step() -> None:
    net = Net()
    with watched() as (kept, steps):
        optimizer = torch.optim.SGD(net.parameters())
        for micro in range(4):
            net(torch.ones(2, 4)).sum().backward()
            assert kept.ended == micro // 2
            if micro % 2:
                optimizer.step()
                assert kept.ended == micro // 2 + 1
        net.eval()
        with torch.no_grad():
            net(torch.ones(2, 4))
    assert kept.phases == ["train", "train", "forward"]
    assert steps.seen().mode == "train"


def test_a_training_step_without_an_optimizer_lasts_until_the_next_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    # a process that has made an optimizer, as this one has, always has
    monkeypatch.setattr("ridgeline.capture.launching.optimizers._optimizer_made", lambda: False)
    net = Net()
    with watched() as (kept, _):
        for _ in range(3):
            net(torch.ones(2, 4)).sum().backward()
        assert (kept.phases, kept.ended) == (["forward", "train", "train"], 2)


def test_an_optimizer_whose_steps_nobody_sees_does_not_swallow_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ridgeline.capture.launching.optimizers._optimizer_made", lambda: True)
    net = Net()
    with watched() as (kept, _):
        for _ in range(UNSEEN_AFTER + 4):
            net(torch.ones(2, 4)).sum().backward()
    assert kept.phases == ["train"] * 4


def test_a_forward_that_merely_records_a_graph_is_no_training_step() -> None:
    net = Net()
    with watched() as (kept, _):
        optimizer = torch.optim.SGD(net.parameters())
        net.eval()
        net(torch.ones(2, 4))
        net(torch.ones(2, 4)).sum().backward()
        optimizer.step()  # a program that trains a model in evaluation mode
        net(torch.ones(2, 4)).sum().backward()
        assert (kept.phases, kept.ended) == (["forward", "forward", "train"], 2)
        optimizer.step()
    assert kept.ended == 3


def test_a_step_trains_from_the_first_optimizer_on(monkeypatch: pytest.MonkeyPatch) -> None:
    # a process that has made an optimizer, as this one has, always has
    monkeypatch.setattr("ridgeline.capture.launching.optimizers._optimizer_made", lambda: False)
    net, original = Net(), Optimizer._patch_step_function
    with watched() as (kept, _):
        net(torch.ones(2, 4))
        assert Optimizer._patch_step_function is not original
        optimizer = torch.optim.SGD(net.parameters())
        assert Optimizer._patch_step_function is original
        net(torch.ones(2, 4)).sum().backward()
        assert kept.ended == 1
        optimizer.step()
        assert kept.ended == 2
    assert kept.phases == ["forward", "train"]


def test_a_step_trains_while_a_parameter_needs_gradients() -> None:
    net, x = nn.Sequential(Net(), Net().requires_grad_(False)), torch.ones(2, 4, requires_grad=True)
    optimizer = torch.optim.SGD([x])

    def step() -> None:
        net(x)
        optimizer.step()

    with watched() as (kept, _):
        for _ in range(2):
            step()
        net[0].requires_grad_(False)
        step()
        net[1].requires_grad_(True)
        for _ in range(2):
            step()
        net[1] = nn.Identity()
        step()
        net.append(nn.Linear(4, 4))
        step()
    assert kept.phases == ["train", "train", "forward", "train", "train", "forward", "train"]


def test_a_step_that_raises_ends_with_its_error() -> None:
    net = Net()
    with watched() as (kept, _), torch.no_grad():
        with pytest.raises(RuntimeError, match="shapes"):
            net(torch.ones(2, 5))
        net(torch.ones(2, 4))
    assert (kept.phases, kept.ended) == (["forward", "forward"], 2)
    assert [type(error) for error in kept.errors] == [RuntimeError]


@pytest.mark.parametrize("pattern", ["Sequential", r"torch\.nn\.modules\..*\.Linear", "body", r"body\.\d"])
def test_a_step_may_be_a_module_inside(pattern: str) -> None:
    net = Net()
    with watched(pattern) as (kept, _), torch.no_grad():
        for _ in range(2):
            net(torch.ones(2, 4))
    assert len(kept.steps) == (4 if pattern == r"body\.\d" else 2)


def test_a_step_may_be_a_range_whose_label_has_the_facts() -> None:
    net = Net()
    with watched(r"^(?P<phase>denoise) (?P<kind>\w+) q=(?P<query>\d+)") as (kept, _), torch.no_grad():
        for label in ("denoise reuse q=32", "other", "denoise refresh q=64"):
            with record_function(label), record_function("denoise inner q=1"):
                net(torch.ones(2, 4))
    assert kept.steps == [
        ("reuse", "denoise", {"query": 32}),
        ("inner", "denoise", {"query": 1}),  # in the range that is no step
        ("refresh", "denoise", {"query": 64}),
    ]
    assert kept.modules == ["Net"] * 3
