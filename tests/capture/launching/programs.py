"""Programs that know nothing of Ridgeline, small enough for tests: each runs its steps and returns a number."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

WIDTH = 16


def generate(generations: int, tokens: int, prompt: int = 5, batch: int = 2) -> int:
    """Hugging Face's `generate` with a random model: a prefill and `tokens` - 1 decodes for each generation."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32, hidden_size=WIDTH, intermediate_size=WIDTH, num_hidden_layers=1, num_attention_heads=2,
        eos_token_id=None,
    )  # fmt: skip
    model: Any = LlamaForCausalLM(config).requires_grad_(False)
    model.eval()
    ids = torch.ones(batch, prompt, dtype=torch.long)
    for _ in range(generations):
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False)
    return int(out.sum())


class Attend(nn.Module):
    """A layer whose keys of all positions are cached by a refresh, and reused for a block."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(WIDTH, WIDTH)

    def forward(self, hidden: torch.Tensor, cache: dict[str, torch.Tensor], start: int) -> torch.Tensor:
        projected = self.project(hidden)
        if "keys" not in cache or hidden.shape[1] == cache["keys"].shape[1]:
            cache["keys"] = projected
        cache["keys"][:, start : start + hidden.shape[1]] = projected
        return torch.softmax(projected @ cache["keys"].transpose(1, 2), -1) @ cache["keys"]


class Denoiser(nn.Module):
    """A diffusion language model with a dual cache, written by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(32, WIDTH)
        self.layers = nn.ModuleList(Attend() for _ in range(2))
        self.head = nn.Linear(WIDTH, 32)

    def forward(self, canvas: torch.Tensor, caches: list[dict[str, torch.Tensor]], start: int = 0) -> torch.Tensor:
        hidden = self.embed(canvas)
        for layer, cache in zip(self.layers, caches, strict=True):
            hidden = layer(hidden, cache, start)
        return self.head(hidden)  # type: ignore[no-any-return]


@torch.no_grad()
def dual_cache(generations: int, blocks: int = 2, block: int = 4, steps: int = 4, prompt: int = 8) -> int:
    """A loop of refreshes of the whole canvas and reuses for a block, labelled as its author likes."""
    torch.manual_seed(0)
    model = Denoiser()
    for _ in range(generations):
        canvas = torch.zeros(1, prompt + blocks * block, dtype=torch.long)
        caches: list[dict[str, torch.Tensor]] = [{}, {}]
        for index in range(blocks):
            start = prompt + index * block
            for step in range(steps):
                kind, first = ("refresh", 0) if step == 0 else ("reuse", start)
                length = canvas.shape[1] if step == 0 else block
                with torch.profiler.record_function(f"denoise {kind} q={length}"):
                    logits = model(canvas[:, first : first + length], caches, first)
                canvas[:, start + step] = logits[:, start - first + step].argmax(-1)
    return int(canvas.sum())


def train(steps: int) -> float:
    """A training loop with a loss module and an optimizer."""
    torch.manual_seed(0)
    net, loss = nn.Sequential(nn.Linear(WIDTH, 32), nn.GELU(), nn.Linear(32, 4)), nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(net.parameters())
    inputs, labels = torch.randn(8, WIDTH), torch.arange(8) % 4
    for _ in range(steps):
        optimizer.zero_grad()
        loss(net(inputs), labels).backward()
        optimizer.step()
    return float(next(net.parameters()).detach().sum())
