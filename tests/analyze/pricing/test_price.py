"""Prices against PyTorch's own counter where that is right, against counts by hand where it is not."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from ridgeline.analyze.pricing.cost import Price
from ridgeline.analyze.pricing.price import price, price_all
from ridgeline.analyze.pricing.rules import attention
from ridgeline.analyze.pricing.signature import parse
from tests.sampling import examples

BF16, FP32, INT64, SCALAR = "c10::BFloat16", "float", "long int", "Scalar"
COMPLEX = "c10::complex<float>"
FP8, FP4 = "c10::Float8_e4m3fn", "c10::Float4_e2m1fn_x2"
SIZE = st.integers(1, 33)


def priced(name: str, inputs: Sequence[tuple[Any, str] | str | None], strides: Sequence[Any] | None = None) -> Price:
    """Price a call: tensors as (dims, type), concrete values as text."""
    dims = [value[0] if isinstance(value, tuple) else [] for value in inputs]
    types = [value[1] if isinstance(value, tuple) else "" if value is None else SCALAR for value in inputs]
    concrete = [value if isinstance(value, str) else "" for value in inputs]
    texts = [json.dumps(column).encode() if column is not None else b"" for column in (dims, types, strides, concrete)]
    return price(parse((name, *texts)))  # type: ignore[arg-type]


def counted(call: Callable[[], object]) -> int:
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        call()
    return int(counter.get_total_flops())


@examples("milliseconds")
@given(SIZE, SIZE, SIZE, SIZE)
def test_products_equal_torchs_count(b: int, m: int, k: int, n: int) -> None:
    def rand(*shape: int) -> torch.Tensor:
        return torch.empty(shape)

    cases: dict[str, tuple[list[tuple[int, ...]], Callable[[], object]]] = {
        "aten::mm": ([(m, k), (k, n)], lambda: torch.mm(rand(m, k), rand(k, n))),
        "aten::addmm": ([(n,), (m, k), (k, n)], lambda: torch.addmm(rand(n), rand(m, k), rand(k, n))),
        "aten::bmm": ([(b, m, k), (b, k, n)], lambda: torch.bmm(rand(b, m, k), rand(b, k, n))),
        "aten::baddbmm": (
            [(b, m, n), (b, m, k), (b, k, n)],
            lambda: torch.baddbmm(rand(b, m, n), rand(b, m, k), rand(b, k, n)),
        ),
    }
    for name, (shapes, call) in cases.items():
        assert priced(name, [(list(shape), FP32) for shape in shapes]).flops == counted(call), name


@examples("milliseconds")
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 9), st.integers(1, 9), st.integers(1, 3), st.integers(1, 2))
def test_convolution_equals_torchs_count(b: int, c: int, h: int, o: int, kernel: int, groups: int) -> None:
    h += kernel
    inputs = [
        ([b, c * groups, h, h], FP32),
        ([o * groups, c, kernel, kernel], FP32),
        None,
        "[1, 1]",
        "[0, 0]",
        "[1, 1]",
        "False",
        "[0, 0]",
        str(groups),
    ]
    expected = counted(
        lambda: torch.nn.functional.conv2d(
            torch.empty(b, c * groups, h, h), torch.empty(o * groups, c, kernel, kernel), groups=groups
        )
    )
    assert priced("aten::convolution", inputs).flops == expected


@examples("milliseconds")
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 9), st.integers(1, 9), st.integers(1, 3), st.integers(1, 2))
def test_transposed_convolution_equals_torchs_count(b: int, c: int, h: int, o: int, kernel: int, groups: int) -> None:
    shapes = [b, c * groups, h, h], [c * groups, o, kernel, kernel]
    inputs = [(shapes[0], FP32), (shapes[1], FP32), None, "[2, 2]", "[0, 0]", "[1, 1]", "True", "[0, 0]", str(groups)]
    expected = counted(
        lambda: torch.nn.functional.conv_transpose2d(
            torch.empty(shapes[0]), torch.empty(shapes[1]), stride=2, groups=groups
        )
    )
    assert priced("aten::convolution", inputs).flops == expected


@examples("milliseconds")
@given(
    st.integers(1, 2),
    st.integers(1, 3),
    st.integers(4, 9),
    st.integers(1, 3),
    st.integers(0, 2),
    st.integers(1, 2),
    st.integers(1, 2),
    st.integers(1, 2),
)
def test_vendors_convolutions_equal_torchs_count(
    b: int, c: int, h: int, kernel: int, padding: int, stride: int, dilation: int, groups: int
) -> None:
    """They have no meta kernel, so their result is the rule's."""
    h += 2 * kernel
    weight = [groups * 2, c, kernel, kernel]
    inputs: list[tuple[list[int], str] | str] = [
        ([b, c * groups, h, h], FP32),
        (weight, FP32),
        str([padding] * 2),
        str([stride] * 2),
        str([dilation] * 2),
        str(groups),
        "False",
        "False",
        "True",
    ]
    expected = counted(
        lambda: torch.nn.functional.conv2d(
            torch.empty(b, c * groups, h, h),
            torch.empty(weight),
            padding=padding,
            stride=stride,
            dilation=dilation,
            groups=groups,
        )
    )
    found = priced("aten::cudnn_convolution", inputs)
    assert (found.flops, found.confidence) == (expected, "high")


def test_gradients_of_a_convolution_equal_torchs_count() -> None:
    source, weight = torch.empty(2, 3, 8, 8, device="meta"), torch.empty(4, 3, 3, 3, device="meta")
    for mask in ([True, True, False], [True, False, True], [False, True, False]):
        with FlopCounterMode(display=False) as counter:
            torch.ops.aten.convolution_backward(
                torch.empty(2, 4, 6, 6, device="meta"),
                source,
                weight,
                [4],
                [1, 1],
                [0, 0],
                [1, 1],
                False,
                [0, 0],
                1,
                mask,
            )
        inputs: list[Any] = [
            ([2, 4, 6, 6], FP32),
            ([2, 3, 8, 8], FP32),
            ([4, 3, 3, 3], FP32),
            "[4]",
            "[1, 1]",
            "[0, 0]",
            "[1, 1]",
            "False",
            "[0, 0]",
            "1",
            str(mask),
        ]
        assert priced("aten::convolution_backward", inputs).flops == counter.get_total_flops()


def attention_inputs(b: int, heads: int, kv_heads: int, q: int, kv: int, d: int, *, causal: bool) -> list[Any]:
    q_shape, kv_shape = [b, heads, q, d], [b, kv_heads, kv, d]
    return [(q_shape, BF16), (kv_shape, BF16), (kv_shape, BF16), "0.", str(causal), "False", "0.125"]


@examples("milliseconds")
@given(
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(0, 2),
    st.integers(1, 3),
    st.integers(1, 2),
    st.integers(1, 2),
    st.integers(1, 2),
    st.booleans(),
)
def test_convolutions_of_all_ranks_equal_torchs_count(
    rank: int, c: int, o: int, kernel: int, padding: int, stride: int, dilation: int, groups: int, b: int, biased: bool
) -> None:
    source = [b, c * groups, *range(2 * kernel, 2 * kernel + rank)]
    weight = [o * groups, c, *[kernel] * rank]
    inputs = [
        (source, FP32),
        (weight, FP32),
        ([o * groups], FP32) if biased else None,
        str([stride] * rank),
        str([padding] * rank),
        str([dilation] * rank),
        "False",
        str([0] * rank),
        str(groups),
    ]
    bias = torch.empty(o * groups, device="meta") if biased else None
    tensors = [torch.empty(shape, device="meta") for shape in (source, weight)]
    sizes = ([size] * rank for size in (stride, padding, dilation))
    expected = counted(lambda: torch.ops.aten.convolution(*tensors, bias, *sizes, False, [0] * rank, groups))
    assert priced("aten::convolution", inputs).flops == expected


SDPA: dict[str, list[Any]] = {
    "_scaled_dot_product_flash_attention": [0.0, False, False],
    "_scaled_dot_product_efficient_attention": [None, False, 0.0, False],
    "_scaled_dot_product_cudnn_attention": [None, False, 0.0, False, False],
}
"""Operators under SDPA of which FlopCounterMode reads the shapes right, and what follows their operands.

Of the kernels below them, whose tokens come before heads, it takes the one for the other unless sequences are packed.
"""


@examples("milliseconds")
@given(st.integers(1, 2), st.integers(1, 4), st.integers(1, 20), st.integers(1, 20), st.integers(1, 16))
def test_attention_equals_torchs_count_where_that_is_right(b: int, heads: int, q: int, kv: int, d: int) -> None:
    """Without masks and with as many key heads."""
    shapes = [[b, heads, n, d] for n in (q, kv, kv)]
    operands = [torch.empty(shape, dtype=torch.bfloat16, device="meta") for shape in shapes]
    for name, rest in SDPA.items():
        expected = counted(partial(getattr(torch.ops.aten, name), *operands, *rest))
        texts = [None if value is None else str(value) for value in rest]
        assert priced(f"aten::{name}", [*((shape, BF16) for shape in shapes), *texts]).flops == expected, name


@examples("milliseconds")
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 20), st.integers(1, 20), st.integers(1, 16))
def test_packed_attention_equals_torchs_count(b: int, heads: int, q: int, kv: int, d: int) -> None:
    shapes = [[b * n, heads, d] for n in (q, kv, kv)]
    operands = [torch.empty(shape, dtype=torch.bfloat16, device="meta") for shape in shapes]
    starts = torch.empty(b + 1, dtype=torch.int32, device="meta")
    forward = torch.ops.aten._flash_attention_forward
    expected = counted(lambda: forward(*operands, starts, starts, q, kv, 0.0, False, False))
    rest: list[Any] = [([b + 1], "int"), ([b + 1], "int"), str(q), str(kv), "0.", "False", "False"]
    found = priced("aten::_flash_attention_forward", [*((shape, BF16) for shape in shapes), *rest])
    assert found.flops == expected


def test_the_backward_pass_of_attention_equals_torchs_count() -> None:
    q, k = (torch.empty(2, 3, n, 16, dtype=torch.bfloat16, device="meta") for n in (5, 7))
    starts = torch.empty(0, dtype=torch.int32, device="meta")
    lse = torch.empty(2, 3, 5, device="meta")
    seed = torch.empty((), dtype=torch.int64, device="meta")
    with FlopCounterMode(display=False) as counter:
        torch.ops.aten._scaled_dot_product_flash_attention_backward(
            q, q, k, k, q, lse, starts, starts, 5, 7, 0.0, False, seed, seed
        )
    shapes: list[Any] = [([2, 3, n, 16], BF16) for n in (5, 5, 7, 7, 5)]
    rest: list[Any] = [([2, 3, 5], FP32), None, None, "5", "7", "0.", "False", ([], INT64), ([], INT64), None]
    found = priced("aten::_scaled_dot_product_flash_attention_backward", shapes + rest)
    assert (found.flops, found.confidence) == (counter.get_total_flops(), "high")
    assert (found.read_bytes, found.write_bytes) == (2 * 96 * (5 + 5 + 7 + 7 + 5), 2 * 96 * (5 + 7 + 7))


@given(st.integers(1, 8), st.integers(1, 8), st.none() | st.integers(0, 9), st.none() | st.integers(0, 9))
def test_windows_equal_a_count_by_hand(q: int, kv: int, left: int | None, right: int | None) -> None:
    offset = kv - q
    expected = sum(
        (left is None or j >= i + offset - left) and (right is None or j <= i + offset + right)
        for i, j in itertools.product(range(q), range(kv))
    )
    assert attention.scores(q, kv, left=left, right=right) == expected


def test_a_packed_batch_is_counted_exactly_where_all_sequences_are_the_longest() -> None:
    operands: list[Any] = [([12, 2, 8], BF16), ([20, 1, 8], BF16), ([20, 1, 8], BF16)]
    starts = ([5], "int")

    def found(longest_q: int, longest_k: int) -> Price:
        rest: list[Any] = [starts, starts, str(longest_q), str(longest_k), "0.", "True", "False"]
        return priced("aten::_flash_attention_forward", operands + rest)

    even = found(3, 5)
    assert (even.flops, even.confidence) == (4 * 2 * pairs(3, 5, 2) * 2 * (8 + 8), "high")
    uneven = found(7, 5)
    assert (uneven.flops, uneven.confidence) == (None, "low")
    assert uneven.read_bytes == even.read_bytes == 2 * 8 * (12 * 2 + 20 + 20)


def pairs(q: int, kv: int, diagonal: int | None) -> int:
    """Query-key pairs with key ≤ query + diagonal, all of them without one."""
    return sum(diagonal is None or j <= i + diagonal for i, j in itertools.product(range(q), range(kv)))


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 9), st.integers(1, 9))
def test_grouped_and_causal_attention_equal_a_count_by_hand(kv_heads: int, group: int, q: int, kv: int) -> None:
    b, d = 2, 8
    for causal in (False, True):
        found = priced(
            "aten::_scaled_dot_product_flash_attention",
            attention_inputs(b, kv_heads * group, kv_heads, q, kv, d, causal=causal),
        )
        assert found.flops == b * kv_heads * group * pairs(q, kv, kv - q if causal else None) * 2 * (d + d)
        assert found.read_bytes == 2 * b * d * (q * kv_heads * group + 2 * kv * kv_heads)
        assert found.write_bytes == 2 * b * d * q * kv_heads * group


@pytest.mark.parametrize(("key_dim", "value_dim"), [(192, 128), (8, 16)])
def test_values_may_be_wider_or_narrower_than_keys(key_dim: int, value_dim: int) -> None:
    """As in multi-head latent attention."""
    operands: list[Any] = [([2, 3, 5, key_dim], BF16), ([2, 3, 7, key_dim], BF16), ([2, 3, 7, value_dim], BF16)]
    meta = [torch.empty(shape, dtype=torch.bfloat16, device="meta") for shape, _ in operands]
    rest = SDPA["_scaled_dot_product_efficient_attention"]
    expected = counted(lambda: torch.ops.aten._scaled_dot_product_efficient_attention(*meta, *rest))
    texts = [None if value is None else str(value) for value in rest]
    found = priced("aten::_scaled_dot_product_efficient_attention", [*operands, *texts])
    assert found.flops == expected == 2 * 3 * (5 * 7) * 2 * (key_dim + value_dim)
    assert found.write_bytes == 2 * 2 * 3 * 5 * value_dim


@given(st.integers(1, 9), st.integers(1, 9))
def test_kernels_under_sdpa_align_their_masks_as_they_say(q: int, kv: int) -> None:
    b, heads, d = 2, 3, 8
    operands: list[Any] = [([b, tokens, heads, d], BF16) for tokens in (q, kv, kv)]
    flash = {flag: [None, None, str(q), str(kv), "0.", flag, "False"] for flag in ("False", "True")}
    efficient = {kind: [None, None, None, None, None, "0.", kind, "False"] for kind in "012"}
    cases = [
        ("aten::_flash_attention_forward", flash["False"], None),
        ("aten::_flash_attention_forward", flash["True"], kv - q),
        ("aten::_efficient_attention_forward", efficient["0"], None),
        ("aten::_efficient_attention_forward", efficient["1"], 0),
        ("aten::_efficient_attention_forward", efficient["2"], kv - q),
    ]
    for name, rest, diagonal in cases:
        assert priced(name, operands + rest).flops == b * heads * pairs(q, kv, diagonal) * 2 * (d + d), (name, rest)


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.booleans())
def test_grouped_heads_and_causal_masks_of_every_operator_under_sdpa(
    kv_heads: int, group: int, q: int, kv: int, causal: bool
) -> None:
    """cuDNN's, the efficient one and the CPU's align a causal mask at the top left, flash at the bottom right."""
    b, d, flag = 2, 8, str(causal)
    operands = attention_inputs(b, kv_heads * group, kv_heads, q, kv, d, causal=causal)[:3]
    cases: list[tuple[str, list[Any], int]] = [
        ("aten::_scaled_dot_product_flash_attention", ["0.", flag, "False"], kv - q),
        ("aten::_scaled_dot_product_flash_attention_for_cpu", ["0.", flag], 0),
        ("aten::_scaled_dot_product_efficient_attention", [None, "False", "0.", flag], 0),
        ("aten::_scaled_dot_product_cudnn_attention", [None, "False", "0.", flag, "False"], 0),
    ]
    for name, rest, diagonal in cases:
        expected = b * kv_heads * group * pairs(q, kv, diagonal if causal else None) * 2 * (d + d)
        assert priced(name, operands + rest).flops == expected, name


def test_scores_take_no_time_and_are_never_negative() -> None:
    n = 2**34
    assert attention.scores(n, n, "top left") == attention.scores(n, n, "bottom right") == n * (n + 1) // 2
    assert attention.scores(5, 2, "bottom right") == 3
    assert attention.scores(5, 2, "top left") == 9


CASES: list[tuple[str, list[Any], list[Any] | None, tuple[int | None, int, int]]] = [
    # name, inputs, strides, (flops, read bytes, written bytes)
    ("aten::mm", [([4, 64], BF16), ([64, 32], BF16)], None, (2 * 4 * 64 * 32, 2 * (4 * 64 + 64 * 32), 2 * 4 * 32)),
    ("aten::add.Tensor", [([4, 32], BF16), ([4, 32], BF16), "1"], None, (128, 512, 256)),
    ("aten::add", [([4, 32], BF16), ([4, 32], BF16), "1"], None, (128, 512, 256)),
    ("aten::add_.Tensor", [([4, 32], BF16), ([4, 32], BF16), "1"], None, (128, 512, 256)),
    # rounded, as text does not say
    ("aten::div_", [([4, 32], INT64), ([], INT64), None], None, (0, 1032, 1024)),
    # a dimension of stride 0 is one row read once
    ("aten::mul.Tensor", [([4, 32], FP32), ([4, 32], FP32)], [[32, 1], [0, 1]], (128, 4 * (128 + 32), 512)),
    ("aten::copy_", [([4, 32], BF16), ([4, 32], FP32), "False"], None, (0, 512, 256)),
    ("aten::fill_.Scalar", [([4, 32], FP32), "0"], None, (0, 0, 512)),
    ("aten::view", [([4, 32], BF16), "[128]"], None, (0, 0, 0)),
    ("aten::t", [([4, 32], BF16)], None, (0, 0, 0)),
    ("aten::_unsafe_view", [([4, 32], BF16), "[128]"], None, (0, 0, 0)),
    ("aten::empty_like", [([4, 32], BF16), None, None, None, None, None], None, (0, 0, 0)),
    ("aten::mean.dim", [([4, 32], FP32), "[-1]", "True", None], None, (128 + 4, 512, 16)),
    ("aten::_softmax", [([4, 32], BF16), "-1", "False"], None, (4 * 128, 256, 256)),
    ("aten::silu", [([4, 32], BF16)], None, (4 * 128, 256, 256)),
    ("aten::argmax", [([4, 32], BF16), "-1", "False"], None, (0, 256, 32)),
    ("aten::add.Tensor", [([4], INT64), ([4], INT64), "1"], None, (0, 64, 32)),
    # gathers read what they take, not the table
    ("aten::index_select", [([1000, 64], BF16), "0", ([3], INT64)], None, (0, 3 * 64 * 2 + 24, 3 * 64 * 2)),
    (
        "aten::embedding",
        [([1000, 64], BF16), ([2, 3], INT64), "-1", "False", "False"],
        None,
        (0, 6 * 64 * 2 + 48, 6 * 64 * 2),
    ),
    # a cache is written where it is indexed
    (
        "aten::index_copy_",
        [([1, 8, 1152, 128], BF16), "2", ([1], INT64), ([1, 8, 1, 128], BF16)],
        None,
        (0, 2048 + 8, 2048),
    ),
    ("aten::scatter.src", [([1, 100], INT64), "1", ([1, 4], INT64), ([1, 4], INT64)], None, (0, 32 + 32 + 800, 800)),
    ("aten::cat", [([[2, 4], [3, 4]], "TensorList c10::BFloat16"), "0"], None, (0, 40, 40)),
    (
        "aten::native_layer_norm",
        [([4, 32], FP32), "[32]", ([32], FP32), ([32], FP32), "1e-5"],
        None,
        (8 * 128, 4 * (128 + 64), 4 * (128 + 8)),
    ),
    # four real multiply-adds make a complex one
    ("aten::mm", [([4, 8], COMPLEX), ([8, 2], COMPLEX)], None, (8 * 4 * 8 * 2, 8 * (32 + 16), 8 * 8)),
    # every input element meets 8 output channels and 3 × 3 positions
    (
        "aten::convolution",
        [
            ([1, 4, 5, 5], FP32),
            ([4, 8, 3, 3], FP32),
            None,
            "[1, 1]",
            "[0, 0]",
            "[1, 1]",
            "True",
            "[0, 0]",
            "1",
        ],
        None,
        (2 * 100 * 8 * 9, 4 * (100 + 288), 4 * 8 * 7 * 7),
    ),
    # what is multiplied by 0 is not read
    (
        "aten::baddbmm",
        [([2, 4, 8], BF16), ([2, 4, 16], BF16), ([2, 16, 8], BF16), "0", "1"],
        None,
        (2 * 2 * 4 * 8 * 16, 2 * (128 + 256), 2 * 64),
    ),
    (
        "aten::baddbmm",
        [([2, 4, 8], BF16), ([2, 4, 16], BF16), ([2, 16, 8], BF16), "1", "1"],
        None,
        (2 * 2 * 4 * 8 * 16, 2 * (128 + 256 + 64), 2 * 64),
    ),
    # windows of 4 that overlap share their elements: 3 + 4 − 1
    ("aten::neg", [([3, 4], FP32)], [[1, 1]], (12, 4 * 6, 48)),
    # a table has no more rows than it has
    ("aten::embedding", [([2, 64], BF16), ([9], INT64), "-1", "False", "False"], None, (0, 256 + 72, 9 * 128)),
    # sizes in the place of indices
    ("aten::index", [([9, 16], BF16), "[3, 16]"], None, (0, 96, 96)),
    ("aten::_index_put_impl_", [([9, 16], FP32), "[3, 16]", ([], FP32), "False", "False"], None, (0, 4, 192)),
    ("aten::_index_put_impl_", [([9, 16], FP32), "[3, 16]", ([], FP32), "True", "False"], None, (48, 4 + 192, 192)),
    # overloads are told apart by the form of their values; what converts is a copy inside
    ("aten::to", [([4, 32], FP32), "15", "False", "False", None], None, (0, 0, 0)),
    ("aten::squeeze", [([4, 1], FP32), "[-1]"], None, (0, 0, 0)),
    (
        "aten::avg_pool2d",
        [([1, 1, 4, 4], FP32), "[2, 2]", "[2, 2]", "[0, 0]", "False", "True", None],
        None,
        (16, 64, 16),
    ),
    # 3 rows of two experts: 12 rows in all
    (
        "aten::_grouped_mm",
        [([12, 16], BF16), ([2, 16, 8], BF16), ([2], "int"), None, None],
        None,
        (2 * 12 * 16 * 8, 2 * (12 * 16 + 2 * 16 * 8) + 8, 2 * 12 * 8),
    ),
    # one row reaches one of four matrices
    (
        "aten::_grouped_mm",
        [([1, 16], BF16), ([4, 16, 8], BF16), ([4], "int"), None, None],
        None,
        (2 * 16 * 8, 2 * (16 + 16 * 8) + 16, 2 * 8),
    ),
    (
        "aten::_grouped_mm",
        [([4, 12], BF16), ([12, 8], BF16), ([3], "int"), None, None],
        None,
        (2 * 4 * 12 * 8, 2 * (4 * 12 + 12 * 8) + 12, 2 * 3 * 4 * 8),
    ),
    # two numbers of fp4 in a byte: 32 along the inner dimension
    (
        "aten::_scaled_mm",
        [([4, 16], FP4), ([16, 8], FP4), ([4, 2], FP8), ([2, 8], FP8), None, None, "15", "False"],
        [[16, 1], [1, 16], [2, 1], [1, 2], [], [], [], []],
        (2 * 4 * 32 * 8, 64 + 128 + 8 + 16, 2 * 32),
    ),
    (
        "aten::_scaled_mm",
        [([4, 16], FP8), ([16, 8], FP8), ([], FP32), ([], FP32), None, None, "15", "False"],
        [[16, 1], [1, 16], [], [], [], [], [], []],
        (2 * 4 * 16 * 8, 64 + 128 + 8, 2 * 32),
    ),
    # a scale for each row and each output
    (
        "aten::_scaled_mm",
        [([32, 64], FP8), ([64, 48], FP8), ([32, 1], FP32), ([1, 48], FP32), None, None, "15", "True"],
        [[64, 1], [1, 64], [1, 1], [48, 1], [], [], [], []],
        (2 * 32 * 64 * 48, 32 * 64 + 64 * 48 + 4 * (32 + 48), 2 * 32 * 48),
    ),
    # a result given to be written is not read
    (
        "aten::_scaled_mm",
        [
            ([32, 64], FP8),
            ([64, 48], FP8),
            ([32, 1], FP32),
            ([1, 48], FP32),
            None,
            None,
            "15",
            "True",
            ([32, 48], BF16),
        ],
        [[64, 1], [1, 64], [1, 1], [48, 1], [], [], [], [], [48, 1]],
        (2 * 32 * 64 * 48, 32 * 64 + 64 * 48 + 4 * (32 + 48), 2 * 32 * 48),
    ),
    (
        "aten::_int_mm",
        [([32, 64], "signed char"), ([64, 48], "signed char")],
        [[64, 1], [1, 64]],
        (2 * 32 * 64 * 48, 32 * 64 + 64 * 48, 4 * 32 * 48),
    ),
    (
        "aten::_int_mm",
        [([32, 64], "signed char"), ([64, 48], "signed char"), ([32, 48], "int")],
        [[64, 1], [1, 64], [48, 1]],
        (2 * 32 * 64 * 48, 32 * 64 + 64 * 48, 4 * 32 * 48),
    ),
    # changes of shape in place
    ("aten::squeeze_", [([4, 1, 32], BF16)], None, (0, 0, 0)),
    ("aten::unsqueeze_", [([4, 32], BF16), "0"], None, (0, 0, 0)),
    ("aten::transpose_", [([4, 32], BF16), "0", "1"], None, (0, 0, 0)),
    ("aten::detach_", [([4, 32], BF16)], None, (0, 0, 0)),
    ("aten::t_", [([4, 32], BF16)], None, (0, 0, 0)),
    # five rows of 64, in two bags
    (
        "aten::_embedding_bag",
        [([1000, 64], FP32), ([5], INT64), ([2], INT64), "False", "0", "False", None, "False", "-1"],
        None,
        (5 * 64, 5 * 64 * 4 + 40 + 16, 2 * 64 * 4),
    ),
    (
        "aten::_embedding_bag",
        [([1000, 64], FP32), ([5], INT64), ([2], INT64), "False", "0", "False", ([5], FP32), "False", "-1"],
        None,
        (2 * 5 * 64, 5 * 64 * 4 + 40 + 16 + 20, 2 * 64 * 4),
    ),
    (
        "aten::embedding_bag",
        [([1000, 64], FP32), ([5], INT64), ([2], INT64), "False", "1", "False", None, "False"],
        None,
        (5 * 64, 5 * 64 * 4 + 40 + 16, 2 * 64 * 4),
    ),
    # three of the 100 columns of 8 rows
    ("aten::index_fill_", [([8, 100], FP32), "1", ([3], INT64), "0"], None, (0, 24, 3 * 8 * 4)),
    ("aten::index_fill_", [([8, 100], FP32), "-1", ([3], INT64), "0"], None, (0, 24, 3 * 8 * 4)),
    ("aten::index_fill", [([8, 100], FP32), "1", ([3], INT64), "0"], None, (0, 24 + 3200, 3200)),
    # indices of (3, 1) and (2) address 6 rows of 16
    (
        "aten::index_put_",
        [([9, 9, 16], FP32), ([[3, 1], [2]], "TensorList long int"), ([3, 2, 16], FP32), "False"],
        None,
        (0, 6 * 16 * 4 + 24 + 16, 6 * 16 * 4),
    ),
    (
        "aten::index_put_",
        [([9, 9, 16], FP32), ([[3, 1], [2]], "TensorList long int"), ([3, 2, 16], FP32), "True"],
        None,
        (6 * 16, 2 * 6 * 16 * 4 + 24 + 16, 6 * 16 * 4),
    ),
    (
        "aten::index_put_",
        [([9, 16], FP32), ([[3]], "TensorList long int"), ([], FP32), "False"],
        None,
        (0, 4 + 24, 3 * 16 * 4),
    ),
    # only the part of the source that the index covers is used
    (
        "aten::scatter_add_",
        [([8, 16], FP32), "0", ([2, 16], INT64), ([4, 16], FP32)],
        None,
        (32, 2 * 32 * 4 + 32 * 8, 32 * 4),
    ),
    (
        "aten::scatter_add",
        [([8, 16], FP32), "0", ([2, 16], INT64), ([2, 16], FP32)],
        None,
        (32, 8 * 16 * 4 + 32 * 4 + 32 * 8, 8 * 16 * 4),
    ),
    ("aten::scatter_add_", [([8], INT64), "0", ([2], INT64), ([2], INT64)], None, (0, 16 + 16 + 16, 16)),
    (
        "aten::index_add_",
        [([8, 16], FP32), "0", ([2], INT64), ([2, 16], FP32), "1"],
        None,
        (32, 2 * 32 * 4 + 16, 32 * 4),
    ),
    (
        "aten::scatter_reduce_",
        [([8, 16], FP32), "0", ([2, 16], INT64), ([2, 16], FP32), None, "True"],
        None,
        (32, 2 * 32 * 4 + 32 * 8, 32 * 4),
    ),
]


@pytest.mark.parametrize(("name", "inputs", "strides", "expected"), CASES, ids=[case[0] for case in CASES])
def test_by_hand(
    name: str, inputs: list[Any], strides: list[Any] | None, expected: tuple[int | None, int, int]
) -> None:
    found = priced(name, inputs, strides)
    assert (found.flops, found.read_bytes, found.write_bytes, found.confidence) == (*expected, "high")


def test_unknown_operators_are_priced_from_their_inputs_with_low_confidence() -> None:
    unknown = priced("mine::lists", [([[4], [4]], "TensorList"), ([2], BF16)])
    assert (unknown.read_bytes, unknown.method) == (None, "none")
    found = priced("mine::rms_norm", [([8, 64], BF16), ([8, 64], BF16), ([64], BF16), "1e-5"])
    assert (found.flops, found.read_bytes, found.method, found.confidence) == (
        None,
        2 * (512 + 512 + 64),
        "inputs",
        "low",
    )
    assert priced("mine::nothing", [None])[:3] == (None, None, None)


@pytest.mark.parametrize("element", ["bool", "unsigned char", None])
def test_what_a_mask_selects_is_unknown(element: str | None) -> None:
    """The profiler itself records nothing of optional indices."""
    indices = ([[9, 16]], f"TensorList {element}") if element else None
    found = priced("aten::index_put_", [([9, 16], FP32), indices, ([], FP32), "False"])
    assert (found.flops, found.method, found.confidence) == (None, "inputs", "low")
    assert priced("aten::masked_scatter_", [([9], FP32), ([9], "bool"), ([9], FP32)]).confidence == "low"


def test_composite_operators_are_known_as_such() -> None:
    assert priced("aten::linear", [([4, 64], BF16), ([32, 64], BF16), None]).composite
    assert not priced("aten::mm", [([4, 64], BF16), ([64, 32], BF16)]).composite


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=12,
)
NAMES = st.sampled_from(
    [
        "aten::mm",
        "aten::add.Tensor",
        "aten::_softmax",
        "aten::index_copy_",
        "aten::nonsense",
        "x",
        "aten::cat",
        "",
        "aten::name",
        "aten::__class__",
        "aten::\ud800",
        "aten::index_put_",
        "aten::scatter_reduce_",
        "aten::index_fill_",
        "aten::_embedding_bag",
        "aten::convolution",
        "aten::_flash_attention_forward",
    ]
)


@examples("microseconds")
@given(NAMES, JSON, st.lists(st.sampled_from([BF16, FP32, SCALAR, "", "TensorList", "???"]), max_size=4), JSON, JSON)
def test_no_signature_can_make_pricing_raise(
    name: str, dims: Any, types: list[str], strides: Any, concrete: Any
) -> None:
    texts = [json.dumps(value).encode() for value in (dims, types, strides, concrete)]
    (found,) = price_all([(name, *texts)])  # type: ignore[list-item]
    assert found.confidence in ("high", "low")
    assert all(value is None or (value >= 0 and float(value).is_integer()) for value in found[:3])


@pytest.mark.parametrize("text", [b"[" * 100_000, b'["\xff"]', b"[1e999]", b"\0"])
def test_no_text_can_make_pricing_raise(text: bytes) -> None:
    (found,) = price_all([("aten::mm", text, text, text, text)])
    assert found.method == "none"


@pytest.mark.parametrize(
    ("operator", "dtype", "precision"), [("aten::_scaled_mm", FP8, "fp8"), ("aten::_int_mm", "signed char", "int8")]
)
def test_8_bit_products_are_of_8_bits(operator: str, dtype: str, precision: str) -> None:
    scales = [([32, 1], FP32), ([1, 48], FP32), None, None, "15", "True"] if precision == "fp8" else []
    strides = [[64, 1], [1, 64], [1, 1], [48, 1], [], [], [], []][: 2 + len(scales)]
    found = priced(operator, [([32, 64], dtype), ([64, 48], dtype), *scales], strides)
    assert (found.precision, found.confidence) == (precision, "high")
