"""Launches of the backward pass of attention, in the order of cuDNN's and FlashAttention's kernels.

- The first kernel reads the result and its gradient, writes their products summed by row, and clears the queries'
  gradient in fp32.
- The main kernel gives each block some keys. It reads every operand, writes the gradients of its keys and values, and
  adds to the queries' gradient by atomic operations, which read and write it.
- The last kernels convert that sum. Where query heads share a key head, the main kernel writes the gradients of keys
  and values for each query head, and a kernel for each of them sums the heads.
"""

from __future__ import annotations

import re

from ridgeline.analyze.cache_model.launches.launch import Helper, Launch, Node, Rule, read, workspace, write
from ridgeline.analyze.cache_model.operands import Tensor, Touch
from ridgeline.analyze.pricing.families import base_name

_ROW_SUMS = re.compile(r"dot_do_o|[pP]reprocess")
_CONVERTS = re.compile(r"convert_?dq", re.IGNORECASE)
_SUMS_HEADS = re.compile(r"reduce_head")
_ACCUMULATOR_BYTES = 4
_HEADS = {"_flash_attention_backward": -2, "_efficient_attention_backward": -2}
"""The dimension of heads, where it is not the third from the end."""


def _backward(launch: Launch) -> list[Touch] | None:
    call, kernel = launch.call, launch.kernel
    operands = call.inputs[:4]
    is_split = any(_ROW_SUMS.search(name) for name in launch.kernels)
    if len(operands) < 4 or min(len(operand.shape) for operand in operands) < 3 or not call.outputs or not is_split:
        return None
    gradient, query, key, value = operands
    of_query, of_key, of_value = _gradients(call)
    size = query.bytes // query.itemsize * _ACCUMULATOR_BYTES
    sums = Touch(workspace(1), 0, size, size, True)
    if _ROW_SUMS.search(kernel):
        result = [other for other in call.inputs[4:6] if other.shape == gradient.shape]
        return Helper([read(gradient), *map(read, result), sums])
    if _CONVERTS.search(kernel):
        return Helper([sums._replace(write=False), write(of_query)])
    # gradients for each of the query's heads, those of keys before those of values
    heads = _HEADS.get(base_name(call.operator), -3)
    by_head = []
    for number, tensor in enumerate((key, value)):
        size = tensor.bytes * query.shape[heads] // max(tensor.shape[heads], 1)
        by_head.append(Touch(workspace(2 + number), 0, size, size, True))
    if _SUMS_HEADS.search(kernel):
        number = sum(bool(_SUMS_HEADS.search(name)) for name in launch.kernels[: launch.at])
        return Helper([by_head[number % 2]._replace(write=False), write((of_key, of_value)[number % 2])])
    is_summed = any(_SUMS_HEADS.search(name) for name in launch.kernels)
    written = by_head if is_summed else [write(of_key), write(of_value)]
    is_converted = any(_CONVERTS.search(name) for name in launch.kernels)
    of_queries = [sums._replace(write=False), sums] if is_converted else [write(of_query)]
    return [*map(read, operands), *of_queries, *written]


def _gradients(call: Node) -> list[Tensor]:
    """The gradients of query, key and value; a guessed call has one result, which holds all."""
    if len(call.outputs) >= 3:
        return list(call.outputs[:3])
    gradients, offset = [], call.outputs[0].offset
    for tensor in call.inputs[1:4]:
        gradients.append(tensor._replace(storage=call.outputs[0].storage, offset=offset, span=tensor.bytes))
        offset += tensor.bytes
    return gradients


_OPERATORS = (
    "_cudnn_attention_backward", "_flash_attention_backward", "_efficient_attention_backward",
    "_scaled_dot_product_cudnn_attention_backward", "_scaled_dot_product_flash_attention_backward",
    "_scaled_dot_product_efficient_attention_backward",
)  # fmt: skip
RULES: dict[str, Rule] = dict.fromkeys(_OPERATORS, _backward)
