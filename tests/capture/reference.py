"""A plain decoder forward of one sequence from weights by name, the reference for every optimized one."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ridgeline.capture.configuration.shape import Shape


def logits(weights: Mapping[str, Tensor], shape: Shape, tokens: Tensor, sees: Tensor) -> Tensor:
    """Logits `[length, vocabulary]` of `tokens` `[length]`; `sees` `[length, length]` says which rows see which."""
    hidden = weights["model.embed_tokens.weight"][tokens]
    for layer in range(shape.layers):
        at = f"model.layers.{layer}"
        normed = norm(hidden, weights[f"{at}.input_layernorm.weight"], shape.norm_eps)
        hidden = hidden + attention(weights, shape, f"{at}.self_attn", normed, sees)
        normed = norm(hidden, weights[f"{at}.post_attention_layernorm.weight"], shape.norm_eps)
        gate = normed @ weights[f"{at}.mlp.gate_proj.weight"].T
        up = normed @ weights[f"{at}.mlp.up_proj.weight"].T
        hidden = hidden + (gate * torch.sigmoid(gate) * up) @ weights[f"{at}.mlp.down_proj.weight"].T
    return norm(hidden, weights["model.norm.weight"], shape.norm_eps) @ weights["lm_head.weight"].T


def attention(weights: Mapping[str, Tensor], shape: Shape, at: str, hidden: Tensor, sees: Tensor) -> Tensor:
    """One layer's attention, a head at a time."""
    width = shape.head_dim
    query, key, value = (project(weights, f"{at}.{name}", hidden) for name in ("q_proj", "k_proj", "v_proj"))
    heads = []
    for head in range(shape.heads):
        group = head * shape.kv_heads // shape.heads
        own, shared = slice(head * width, (head + 1) * width), slice(group * width, (group + 1) * width)
        scores = rotate(query[:, own], shape.rope_theta) @ rotate(key[:, shared], shape.rope_theta).T / width**0.5
        heads.append(scores.masked_fill(~sees, -torch.inf).softmax(-1) @ value[:, shared])
    return torch.cat(heads, 1) @ weights[f"{at}.o_proj.weight"].T


def project(weights: Mapping[str, Tensor], at: str, hidden: Tensor) -> Tensor:
    """A linear layer, with its bias where it has one."""
    return hidden @ weights[f"{at}.weight"].T + weights.get(f"{at}.bias", torch.zeros(()))


def norm(hidden: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Root mean square normalization."""
    return hidden / (hidden.pow(2).mean(-1, keepdim=True) + eps).sqrt() * weight


def rotate(states: Tensor, theta: float) -> Tensor:
    """Rotary positions of `[length, width]`: pairs half a width apart turn by position times theta^(-2i/width)."""
    length, width = states.shape
    angles = torch.arange(length)[:, None] * theta ** (-torch.arange(0, width, 2) / width)
    left, right = states[:, : width // 2], states[:, width // 2 :]
    turned = (left * angles.cos() - right * angles.sin(), right * angles.cos() + left * angles.sin())
    return torch.cat(turned, 1)
