"""Watching module calls changes nothing for torch.compile, tracebacks and threads, and leaves nothing behind."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

from ridgeline.capture.launching.calls import Calls


class Observed:
    """Observes every outermost call."""

    def __init__(self) -> None:
        self.entered: list[str] = []
        self.firsts: list[bool] = []

    def enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], first: bool) -> bool:
        self.entered.append(type(module).__name__)
        self.firsts.append(first)
        return True

    def leave(self, module: nn.Module, output: Any, error: BaseException | None) -> None:
        self.entered.append("end" if error is None else type(error).__name__)


@pytest.fixture
def observed() -> Iterator[Observed]:
    observer = Observed()
    calls = Calls(observer)
    calls.install()
    yield observer
    calls.remove()
    assert calls._replacement is not None
    ours = calls._replacement._function
    modules = [module for name, module in list(sys.modules.items()) if name.startswith("torch")]
    assert nn.Module.__call__.__name__ == "_wrapped_call_impl"
    assert [value for module in modules for value in vars(module).values() if value is ours] == []


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.norm = nn.LayerNorm(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(torch.relu(self.linear(x)))  # type: ignore[no-any-return]


def compiled(make: Callable[[Block], Any]) -> tuple[dict[str, Any], torch.Tensor]:
    """What PyTorch's compiler counts in three calls of what `make` compiles, and the last output."""
    torch._dynamo.reset()
    counters.clear()
    torch.manual_seed(0)
    function = make(Block())
    with torch.no_grad():
        for _ in range(3):
            output = function(torch.ones(2, 4))
    return {key: dict(value) for key, value in counters.items()}, output


def hooked(block: Block) -> Any:
    block.norm.register_forward_hook(lambda module, inputs, output: output * 2)
    block.register_forward_hook(lambda module, inputs, output: output + 1)
    return torch.compile(block, fullgraph=True, backend="eager")


def in_place(block: Block) -> Any:
    block.compile(fullgraph=True, backend="eager")
    return block


COMPILED: dict[str, tuple[Callable[[Block], Any], str]] = {
    "module": (lambda block: torch.compile(block, fullgraph=True, backend="eager"), "OptimizedModule"),
    "in place": (in_place, "Block"),
    "hooked": (hooked, "OptimizedModule"),
    "function": (lambda block: torch.compile(lambda x: block(x) + 1, fullgraph=True, backend="eager"), ""),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("way", COMPILED)
def test_compiled_code_is_the_same(way: str, request: pytest.FixtureRequest) -> None:
    make, outermost = COMPILED[way]
    alone = compiled(make)
    observer = request.getfixturevalue("observed")
    watched = compiled(make)
    assert watched[0] == alone[0]
    assert watched[0]["stats"]["unique_graphs"] == (2 if way == "hooked" else 1)
    assert torch.equal(watched[1], alone[1])
    assert observer.entered == [outermost, "end"] * 3 if outermost else observer.entered == []


def test_a_call_inside_an_observed_one_is_not_observed(observed: Observed) -> None:
    nn.Sequential(Block(), Block())(torch.ones(2, 4))
    assert observed.entered == ["Sequential", "end"]


def test_a_call_of_another_thread_is_not_observed_meanwhile(observed: Observed) -> None:
    block = Block()

    class Outer(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            thread = threading.Thread(target=block, args=(x,))
            thread.start()
            thread.join()
            return x

    Outer()(torch.ones(2, 4))
    block(torch.ones(2, 4))
    assert observed.entered == ["Outer", "end", "Block", "end"]


def test_an_observer_learns_of_calls_that_may_be_inside_of_missed_ones(observed: Observed) -> None:
    block, x = Block(), torch.ones(2, 4)
    for _ in range(2):
        block(x)
    thread = threading.Thread(target=block, args=(x,))
    thread.start()
    thread.join()
    for _ in range(2):
        block(x)
    assert observed.firsts == [True, False, True, True, False]
    calls = nn.Module.__call__.__closure__[0].cell_contents  # type: ignore[index]
    element = calls.idle.pop()  # as another thread does that is faster
    assert torch.equal(calls._outermost(block, (x,), {}), block(x))
    calls.idle.append(element)
    block(x)
    assert observed.firsts[5:] == [True]


def test_an_observer_that_raises_observes_nothing(observed: Observed, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> bool:
        raise ValueError("odd")

    with monkeypatch.context() as patch:
        patch.setattr(Observed, "enter", fail)
        Block()(torch.ones(2, 4))
    Block()(torch.ones(2, 4))
    assert observed.entered == ["Block", "end"]


def test_a_traceback_has_one_place_more_for_the_outermost_call(observed: Observed) -> None:
    with pytest.raises(RuntimeError) as raised:
        nn.Sequential(nn.Sequential(Block()))(torch.ones(2, 5))
    files = [frame.filename for frame in traceback.extract_tb(raised.value.__traceback__)]
    assert sum("ridgeline/capture/launching" in file for file in files) == 5
    assert observed.entered == ["Sequential", "RuntimeError"]


def test_symbolic_traces_and_exports_are_the_same(observed: Observed) -> None:
    block = Block()
    assert [node.op for node in torch.fx.symbolic_trace(block).graph.nodes] == [
        "placeholder", "call_module", "call_function", "call_module", "output",
    ]  # fmt: skip
    exported = torch.export.export(Block(), (torch.ones(2, 4),))
    assert [node.op for node in exported.graph.nodes].count("call_function") == 3
