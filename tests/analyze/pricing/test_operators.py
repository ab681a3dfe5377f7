"""Prices of operators with rules of their own, worked out by hand, and the sweep over what operators really return."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ridgeline.analyze.pricing.cost import Price
from ridgeline.analyze.pricing.price import price
from ridgeline.analyze.pricing.signature import parse
from tests.analyze import kineto
from tests.analyze.loading import load, query
from tests.analyze.pricing import returned
from tests.sampling import pick

FP32, BF16, INT64, INT32 = "float", "c10::BFloat16", "long int", "int"
COMPLEX = "c10::complex<double>"
Value = tuple[list[int], str] | str | None


def priced(name: str, inputs: list[Value], strides: list[Any] | None = None, *, has_values: bool = True) -> Price:
    """Price a call: tensors as (dims, type), numbers and lists as text, anything else as None."""
    dims = [value[0] if isinstance(value, tuple) else [] for value in inputs]
    texts = [value if isinstance(value, str) else "" for value in inputs]
    types = [
        value[1] if isinstance(value, tuple) else "" if value is None else "ScalarList" if value[0] == "[" else "Scalar"
        for value in inputs
    ]
    values = json.dumps(texts).encode() if has_values else b""
    steps = b"" if strides is None else json.dumps(strides).encode()
    return price(parse((name, json.dumps(dims).encode(), json.dumps(types).encode(), steps, values)))


IMAGE, SMALL, POSITIONS = ([2, 3, 8, 8], FP32), ([2, 3, 4, 4], FP32), ([2, 3, 4, 4], INT64)
"""384 and 96 elements."""
ROWS, TARGET = ([10, 7], FP32), ([10], INT64)
NUMBER: Value = ([], FP32)


@pytest.mark.parametrize(
    ("name", "inputs", "flops", "read", "written"),
    [
        # gradients of windows read the incoming gradient and the positions, not the image
        ("max_pool2d_with_indices_backward",
         [SMALL, IMAGE, "[2, 2]", "[2, 2]", "[0, 0]", "[1, 1]", "False", POSITIONS], 96, 96 * 12, 384 * 4),
        ("avg_pool2d_backward", [SMALL, IMAGE, "[2, 2]", "[2, 2]", "[0, 0]", "False", "True", None],
         96 * 5, 96 * 4, 384 * 4),
        ("_adaptive_avg_pool2d_backward", [SMALL, IMAGE], 96 + 384, 96 * 4, 384 * 4),
        ("reflection_pad2d_backward", [([2, 3, 10, 10], FP32), IMAGE, "[1, 1, 1, 1]"], 600, 600 * 4, 384 * 4),
        ("upsample_nearest2d_backward", [IMAGE, "[8, 8]", "[2, 3, 4, 4]", "2.", "2."], 384, 384 * 4, 96 * 4),
        ("upsample_bilinear2d_backward", [IMAGE, "[8, 8]", "[2, 3, 4, 4]", "False", "2.", "2."],
         8 * 384, 384 * 4, 96 * 4),
        ("grid_sampler_2d", [IMAGE, ([2, 2, 2, 2], FP32), "0", "0", "False"],
         7 * 24, min(384, 8 * 24) * 4 + 64, 24 * 4),
        # views
        ("select_backward", [([3, 8], BF16), "[3, 5, 8]", "1", "0"], 0, 48, 240),
        ("slice_backward", [([3, 8], BF16), "[3, 9]", "1", "0", "8", "1"], 0, 48, 54),
        ("t_copy", [([3, 8], BF16)], 0, 48, 48),
        ("full_like", [IMAGE, "0", None, None, None, "False", None], 0, 0, 384 * 4),
        # one log-probability of each row; the gradient's zeros are another operator's
        ("nll_loss_forward", [ROWS, TARGET, None, "1", "-100"], 10, 10 * (4 + 8), 8),
        ("nll_loss_forward", [ROWS, TARGET, ([7], FP32), "0", "-100"], 10, 10 * (4 + 8) + 28, 44),
        ("nll_loss_backward", [NUMBER, ROWS, TARGET, None, "1", "-100", NUMBER], 0, 10 * 8 + 8, 40),
        ("mse_loss_backward", [NUMBER, ROWS, ROWS, "1"], 210, 564, 280),
        ("smooth_l1_loss_backward", [NUMBER, ROWS, ROWS, "1", "1."], 210, 564, 280),
        ("binary_cross_entropy", [ROWS, ROWS, None, "1"], 490, 560, 4),
        # a difference and a scale, weight and bias; training has statistics besides, and writes the running ones
        ("native_batch_norm", [IMAGE, *[([3], FP32)] * 4, "False", "0.1", "1e-05"],
         4 * 384, 384 * 4 + 48, 384 * 4),
        ("native_batch_norm", [IMAGE, *[([3], FP32)] * 4, "True", "0.1", "1e-05"],
         8 * 384, 384 * 4 + 48, 384 * 4 + 24 + 24),
        ("miopen_batch_norm_backward", [IMAGE, IMAGE, *[([3], FP32)] * 5, "1e-05"],
         12 * 384, 2 * 384 * 4 + 60, 384 * 4 + 24),
        # a matrix of 15 elements divided by the norms of its rows, and times a factor for each
        ("_weight_norm_interface", [([3, 5], FP32), ([3, 1], FP32), "0"], 45, 60 + 12, 60 + 12),
        ("_weight_norm_interface_backward",
         [([3, 5], FP32), ([3, 5], FP32), ([3, 1], FP32), ([3, 1], FP32), "0"], 75, 144, 60 + 12),
        # rows of the table that have an index, at most as many as there are indices
        ("embedding_dense_backward", [([2, 4], FP32), ([2], INT64), "100", "-1", "False"], 8, 32 + 16, 32),
        ("embedding_dense_backward", [([6, 4], FP32), ([6], INT64), "5", "-1", "False"], 24, 96 + 48, 80),
        ("_embedding_bag_dense_backward",
         [([2, 4], FP32), TARGET, TARGET, ([2], INT64), ([0], INT64), "100", "False", "0", None, "-1"],
         40, 32 + 80 + 80 + 16, 160),
        # the name of a reduction is not recorded
        ("scatter_", [([5, 4], FP32), "0", ([2, 4], INT64), ([2, 4], FP32)], 0, 64 + 32, 32),
        ("scatter_", [([5, 4], FP32), "0", ([2, 4], INT64), ([2, 4], FP32), None], 8, 64 + 32 + 32, 32),
        ("put_", [([5, 4], FP32), ([3], INT64), ([3], FP32), "False"], 0, 24 + 12, 12),
        ("put_", [([5, 4], FP32), ([3], INT64), ([3], FP32), "True"], 3, 24 + 12 + 12, 12),
        # sums of complex numbers are 2, products 6, by a real number 2, of matrices 8
        ("add", [([4, 4], COMPLEX), ([4, 4], COMPLEX), "1"], 32, 512, 256),
        ("mul", [([4, 4], COMPLEX), ([4, 4], COMPLEX)], 96, 512, 256),
        ("mul", [([4, 4], COMPLEX), "2."], 32, 256, 256),
        ("mm", [([4, 4], COMPLEX), ([4, 4], COMPLEX)], 8 * 64, 512, 256),
        ("sum", [([4, 4], COMPLEX), None], 32, 256, 16),
        ("abs", [([4, 4], COMPLEX)], 64, 256, 128),
        # 5·n·log2(n), half of it with a real side
        ("_fft_c2c", [([3, 16], COMPLEX), "[1]", "0", "True"], 5 * 48 * 4, 768, 768),
        ("_fft_r2c", [([3, 16], FP32), "[1]", "0", "True"], 480, 192, 3 * 9 * 8),
        ("_fft_c2r", [([3, 9], "c10::complex<float>"), "[1]", "2", "16"], 480, 216, 192),
        ("linalg_cholesky_ex", [([2, 6, 6], FP32), "False", "False"], 144, 288, 288 + 8),
        ("linalg_inv_ex", [([2, 6, 6], FP32), "False"], 2 * 432, 288, 288 + 8),
        # packed weights: 8 columns a row of tiles; one column a row
        ("_weight_int4pack_mm", [([1, 64], BF16), ([4, 1, 32, 4], INT32), "32", ([2, 32, 2], BF16)],
         2 * 64 * 32, 128 + 2048 + 256, 64),
        ("_weight_int8pack_mm", [([1, 64], BF16), ([16, 64], "signed char"), ([16], BF16)],
         2 * 64 * 16, 128 + 1024 + 32, 32),
        ("addbmm", [([4, 5], FP32), ([3, 4, 6], FP32), ([3, 6, 5], FP32), "1", "1"], 2 * 3 * 4 * 6 * 5, 728, 80),
        # composites whose own call launches the kernel: no operator was recorded inside
        ("conv2d", [([1, 2, 4, 4], FP32), ([3, 2, 3, 3], FP32), ([3], FP32), "[1, 1]", "[1, 1]", "[1, 1]", "1"],
         2 * 48 * 18, 128 + 216 + 12, 192),
        ("conv_transpose2d", [([1, 2, 4, 4], FP32), ([2, 3, 2, 2], FP32), ([3], FP32), "[2, 2]", "[0, 0]", "[0, 0]",
                              "1", "[1, 1]"], 2 * 32 * 12, 128 + 96 + 12, 768),
        ("scaled_dot_product_attention", [([1, 2, 4, 8], BF16), ([1, 2, 4, 8], BF16), ([1, 2, 4, 8], BF16), None, "0.",
                                          "True", None, "False"], 2 * 2 * 10 * 16, 384, 128),
        ("layer_norm", [([4, 5], FP32), "[5]", ([5], FP32), ([5], FP32), "1e-5", "True"], 8 * 20, 120, 80),
        ("softmax", [([4, 5], FP32), "1", None], 80, 80, 80),
    ],
)  # fmt: skip
def test_prices_worked_out_by_hand(name: str, inputs: list[Value], flops: int, read: int, written: int) -> None:
    found = priced(f"aten::{name}", inputs)
    assert (*found[:3], found.confidence) == (flops, read, written, "high")


@pytest.mark.parametrize(
    ("name", "inputs", "flops", "read", "written"),
    [
        # 12 operations a pair of boxes; a word of 64 boxes for each, written and read, and a flag of each
        ("nms", [([100, 4], FP32), ([100], FP32), "0.5"], 12 * 4950, 1600 + 1600, 1600 + 100),
        # 2·2 samples of four neighbours, which are the whole image
        ("roi_align", [([1, 4, 8, 8], FP32), ([9, 5], FP32), "0.25", "7", "7", "2", "False"],
         9 * 4 * 49 * 33, 1024 + 180, 9 * 4 * 49 * 4),
        ("_roi_align_backward", [([9, 4, 7, 7], FP32), ([9, 5], FP32), "0.25", "7", "7", "1", "4", "8", "8", "2",
                                 "False"], 32 * 9 * 4 * 49, 9 * 4 * 49 * 4 + 180 + 1024, 1024),
        ("roi_pool", [([1, 4, 8, 8], FP32), ([9, 5], FP32), "0.25", "7", "7"], 0, 1024 + 180, 9 * 4 * 49 * 8),
        ("deform_conv2d", [([1, 2, 4, 4], FP32), ([5, 2, 3, 3], FP32), ([1, 18, 4, 4], FP32)],
         2 * 16 * 90 + 7 * 16 * 18, 128 + 360 + 1152, 5 * 16 * 4),
    ],
)  # fmt: skip
def test_prices_of_torchvision(name: str, inputs: list[Value], flops: int, read: int, written: int) -> None:
    found = priced(f"torchvision::{name}", inputs)
    assert (*found[:3], found.confidence) == (flops, read, written, "high")


def test_samples_that_depend_on_the_regions_are_unknown() -> None:
    inputs: list[Value] = [([1, 4, 8, 8], FP32), ([9, 5], FP32), "0.25", "7", "7", "0", "False"]
    found = priced("torchvision::roi_align", inputs)
    assert (found.flops, found.confidence) == (None, "low")


@pytest.mark.parametrize(
    ("name", "inputs", "flops", "read", "written"),
    [
        ("clamp_min", [ROWS, "0"], 0, 280, 280),
        ("threshold_backward", [ROWS, ROWS, "0"], 0, 560, 280),
        ("fill_", [([5], INT64), "0"], 0, 0, 40),
        ("add_", [ROWS, ROWS, "1"], 70, 560, 280),
        ("mul", [ROWS, "0.5"], 70, 280, 280),
    ],
)
def test_numbers_that_are_not_recorded_change_no_bytes(
    name: str, inputs: list[Value], flops: int, read: int, written: int
) -> None:
    found = priced(f"aten::{name}", inputs, has_values=False)
    assert (*found[:3], found.confidence) == (flops, read, written, "high")


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        # the dimensions, the kernel, a cast
        ("sum", [ROWS, "[1]", "False", None]),
        ("avg_pool2d", [IMAGE, "[2, 2]", "[2, 2]", "[0, 0]", "False", "True", None]),
        ("softmax", [ROWS, "1", "6"]),
        # 0.5 would make floating-point numbers of these
        ("mul", [([5], INT64), "2"]),
    ],
)
def test_values_that_change_the_result_lower_the_confidence(name: str, inputs: list[Value]) -> None:
    assert priced(f"aten::{name}", inputs, has_values=False).confidence == "low"
    assert priced(f"aten::{name}", inputs).confidence == "high"


def test_a_sparse_operand_has_no_strides() -> None:
    """How many elements it stores is not recorded, so that only the dense operands have bytes."""
    inputs: list[Value] = [([10, 4], FP32), ([10, 10], FP32), ([10, 4], FP32), "1", "1"]
    found = priced("aten::addmm", inputs, [[4, 1], [], [4, 1], [], []])
    assert (*found[:3], found.confidence) == (None, 320, 0, "low")
    assert priced("aten::addmm", inputs, [[4, 1], [10, 1], [4, 1], [], []]).confidence == "high"


def test_operators_inside_say_how_many_elements_a_sparse_matrix_stores(tmp_path: Path) -> None:
    """A product of 10 × 10 with 25 elements, and 10 × 4: the matrix by rows, the factor and the addend are read."""
    product = [[10, 4], [10, 10], [10, 4], [], []], [FP32, FP32, FP32, "Scalar", "Scalar"]
    indices = [[2, 25], [], []], [INT64, "Scalar", "Scalar"]
    strides = [[4, 1], [], [4, 1], [], []]
    events = [
        kineto.operator("aten::addmm", 1.0, 20.0, 1, *product, ["", "", "", "1", "1"], strides),
        kineto.operator("aten::select", 2.0, 1.0, 2, *indices, ["", "0", "1"]),
        kineto.launch(8.0, 11),
        kineto.kernel("csrmm_kernel", 30.0, 2.0, 11, **{"External id": 1}),
    ]
    load(tmp_path / "w.duckdb", kineto.write(tmp_path / "t.json", events))
    columns = "flops, read_bytes, write_bytes, confidence"
    found = query(tmp_path / "w.duckdb", f"SELECT {columns} FROM signatures WHERE operator = 'aten::addmm'")
    assert found == [(2 * 25 * 4, 25 * 8 + 44 + 160 + 160, 160, "high")]


@pytest.mark.parametrize(
    ("name", "inputs", "types", "size", "read", "written"),
    [
        ("aten::nonzero", [[40]], ["bool"], "[1, 7]", 40, 56),
        ("aten::masked_select", [[40], [40]], [FP32, "bool"], "[7]", 200, 28),
    ],
)
def test_the_result_that_an_operator_resizes_is_its_own(
    tmp_path: Path, name: str, inputs: list[Any], types: list[str], size: str, read: int, written: int
) -> None:
    resized, kinds = [[0], [], []], [INT64, "ScalarList", ""]
    events = [
        kineto.operator(name, 1.0, 20.0, 1, inputs, types, [""] * len(inputs)),
        kineto.operator("aten::resize_", 2.0, 1.0, 2, resized, kinds, ["", "[9]", ""]),
        kineto.operator("aten::resize_", 4.0, 1.0, 3, resized, kinds, ["", size, ""]),
        kineto.launch(8.0, 11),
        kineto.kernel("select_kernel", 30.0, 2.0, 11, **{"External id": 1}),
    ]
    load(tmp_path / "w.duckdb", kineto.write(tmp_path / "t.json", events))
    columns = "read_bytes, write_bytes, confidence"
    found = query(tmp_path / "w.duckdb", f"SELECT {columns} FROM signatures WHERE operator = '{name}' ORDER BY ALL")
    assert (read, written, "high") in found


@pytest.mark.parametrize(
    ("name", "inputs", "types", "values"),
    [
        # lists without element types, a text that is not recorded, half precision of autocast
        ("aten::einsum", [[], [[2, 4, 8], [2, 8, 4]], []], ["", "TensorList", ""], ["", "", ""]),
        ("aten::gru", [[2, 5, 8], [[24, 8], [24, 8]], []], [FP32, "TensorList", "Scalar"], ["", "", "True"]),
        ("aten::stack", [[[], []], []], ["TensorList", "Scalar"], ["", "0"]),
    ],
)
def test_an_operator_without_a_price_does_not_hide_what_it_calls(
    tmp_path: Path, name: str, inputs: list[Any], types: list[str], values: list[str]
) -> None:
    """On a CPU operators take the place of kernels: the outer one keeps its own 6 of 20 µs."""
    product = [[2, 4, 8], [2, 8, 4]]
    events = [
        kineto.operator(name, 1.0, 20.0, 1, inputs, types, values),
        kineto.operator("aten::bmm", 4.0, 14.0, 2, product, [FP32, FP32], ["", ""]),
    ]
    load(tmp_path / "w.duckdb", kineto.write(tmp_path / "t.json", events))
    rows = query(tmp_path / "w.duckdb", "SELECT operator, duration_ns, flops FROM kernel_roofline ORDER BY start_ns")
    assert [row[:2] for row in rows] == [(name, 6_000), ("aten::bmm", 14_000)]
    assert rows[1][2] == 2 * 2 * 4 * 8 * 4


def test_same_padding_is_that_of_the_operator_inside() -> None:
    """The text of ``padding="same"`` is not recorded, and without a text the sizes would be others."""
    inputs: list[Value] = [([2, 3, 16], FP32), ([4, 3, 4], FP32), None, "[1]", None, "[1]", "1"]
    assert priced("aten::_convolution_mode", inputs).composite


NOT_SHOWN = {"reads", "low"}
"""Verdicts on samples whose results depend on no other value, and on operators without a price."""


COUNTED_WRONG = {"convolution_backward"}
"""FlopCounterMode takes all groups of a grouped convolution for the gradient of the weight, not each one's channels."""


def test_prices_agree_with_what_operators_return() -> None:
    """Of the operators that PyTorch's samples call, 85 % have a price that agrees, and none one that is wrong."""
    found = returned.check(samples=pick(1, 3), every=pick(24, 1))
    verdicts = found.verdicts()
    good = [name for name, verdict in verdicts.items() if verdict in returned.GOOD]
    assert len(verdicts) > pick(40, 400)
    assert {name: v for name, v in verdicts.items() if v not in (*returned.GOOD, *NOT_SHOWN)} == {}
    assert len(good) / len(verdicts) > 0.85
    differ = {name for name, pairs in found.flops.items() if any(ours != theirs for ours, theirs in pairs)}
    assert "mm" in found.flops
    assert differ <= COUNTED_WRONG
