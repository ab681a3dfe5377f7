"""What models call, as PyTorch itself records it: all of it has a price of high confidence."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.nn import functional as F
from torch.profiler import profile

from tests.analyze.loading import load, query


def decode() -> None:
    """Products, attention, normalization, activations and what samples a token."""
    x, weight, q = torch.randn(4, 16), torch.randn(16, 8), torch.randn(1, 4, 8, 16)
    torch.mm(x, weight)
    torch.addmm(torch.randn(8), x, weight)
    torch.baddbmm(torch.randn(2, 4, 8), torch.randn(2, 4, 16), torch.randn(2, 16, 8), beta=0)
    F.linear(x, torch.randn(8, 16), torch.randn(8))
    F.scaled_dot_product_attention(q, q, q, is_causal=True)
    F.scaled_dot_product_attention(q, q[:, :2], q[:, :2], enable_gqa=True)
    F.conv2d(torch.randn(1, 3, 8, 8), torch.randn(4, 3, 3, 3))
    F.layer_norm(x, (16,), torch.randn(16), torch.randn(16))
    x.pow(2).mean(-1, keepdim=True).add(1e-6).rsqrt().mul(x)
    F.silu(x) * F.gelu(x) + F.relu(x) - torch.sigmoid(x) / torch.tanh(x)
    F.softmax(x, -1), F.log_softmax(x, -1), x.logsumexp(-1)
    x.cos() * x + torch.neg(x) * x.sin()
    x.sum(-1), x.max(-1), x.amax(-1), x.argmax(-1), x.cumsum(-1), x.var(-1), x.norm(), (x > 0).all(), (x > 0).any(-1)
    x.sort(-1), x.topk(3), x.argsort(-1), torch.multinomial(x.softmax(-1), 2)


def move() -> None:
    """Indexing, copies and random numbers."""
    x, at = torch.randn(4, 16), torch.tensor([1, 3])
    x[at], x[:, at], x.index_select(0, at), F.embedding(at, x), x.gather(1, torch.zeros(4, 2, dtype=torch.long))
    x[at] = 1.0
    x[:, at] = torch.randn(4, 2)
    x.index_copy_(0, at, torch.randn(2, 16)), x.index_fill_(0, at, 0.0), x.index_add_(0, at, torch.randn(2, 16))
    x.scatter_(1, torch.zeros(4, 2, dtype=torch.long), torch.randn(4, 2))
    x.masked_fill(x > 0, 0.0), torch.where(x > 0, x, -x), x.clamp(0, 1), x.tril(), x.roll(1, 0), x.flip(0)
    x.to(torch.bfloat16), x.clone(), x.t().contiguous(), x.repeat(2, 1), x.expand(3, 4, 16).clone(), F.pad(x, (1, 1))
    torch.zeros(4), torch.ones(4), torch.full((4,), 2.0), torch.arange(10), torch.zeros_like(x), x.fill_(1.0)
    (
        torch.randn(4),
        torch.rand(4),
        torch.randint(0, 5, (4,)),
        torch.empty(4).exponential_(),
        torch.bernoulli(x.abs() / 9),
    )
    F.dropout(x, 0.5), F.max_pool2d(torch.randn(1, 1, 8, 8), 2), F.adaptive_avg_pool2d(torch.randn(1, 1, 8, 8), 2)
    torch.equal(x, x), torch.tensor(1.0).item(), F.one_hot(at, 5)


def test_everything_has_a_price_of_high_confidence(tmp_path: Path) -> None:
    with profile(record_shapes=True) as recorded:
        decode()
        move()
    recorded.export_chrome_trace(str(tmp_path / "t.json"))
    load(tmp_path / "w.duckdb", tmp_path / "t.json")
    kernels = query(tmp_path / "w.duckdb", "SELECT operator, confidence, dram_bytes_source FROM kernel_roofline")
    assert len({operator for operator, *_ in kernels}) > 80
    assert {kernel for kernel in kernels if kernel[1:] != ("high", "compulsory")} == set()
