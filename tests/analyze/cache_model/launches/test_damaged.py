"""Calls as damaged records give them: any number of tensors of any shapes, any kernels."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ridgeline.analyze.cache_model.launches import RULES
from tests.analyze.cache_model.launches.calls import dense, touched
from tests.sampling import examples

KERNELS = (
    "nchwToNhwcKernel", "nhwcToNchwKernel", "sm90_xmma_dgrad_nhwckrsc_strided", "sm90_xmma_wgrad_nhwckrsc",
    "Memset (Device)",
    "nvjet_sm90_64x64_splitK", "splitKreduce_kernel", "SubTensorOpWithScalar1d", "im2col_kernel", "elemWiseRNNcell",
    "LSTM_elementWise_bp1", "GENERIC_elementWise_bp2", "region_transform", "bn_fw_tr_1C11_kernel_NCHW", "semiPersist",
    "compute_dot_do_o", "convert_dq", "fmha_reduce_head", "prepare_grouped_gemm_data",
)  # fmt: skip
SHAPES = st.lists(st.sampled_from([0, 1, 2, 3, 64]), max_size=5)


@examples("milliseconds")
@given(
    st.sampled_from(sorted(RULES)), st.lists(SHAPES, max_size=9), st.lists(SHAPES, max_size=3),
    st.lists(st.sampled_from(KERNELS), min_size=1, max_size=6),
)  # fmt: skip
def test_no_rule_fails(operator: str, inputs: list[list[int]], outputs: list[list[int]], kernels: list[str]) -> None:
    read = [dense(number, *shape) for number, shape in enumerate(inputs)]
    written = [dense(number, *shape) for number, shape in enumerate(outputs, 9)]
    found = touched(f"aten::{operator}", read, written, *kernels)
    assert all(touch.bytes > 0 and touch.offset >= 0 for launch in found for touch in launch)
