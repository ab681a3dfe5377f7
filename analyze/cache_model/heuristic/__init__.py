"""A guess of the tensors of every operator's call, from sizes and order, for runs without an execution trace.

The profiler records the dimensions, strides and types of inputs, but neither outputs nor addresses. The rules:

- An output has the size that the operator's price says it writes; a normalization, a dropout or a backward returns a
  tensor like its input and side results. Operators that work in place, and those that write into an argument, return
  that argument.
- The strides of a slice tell the size of the tensor that it was cut from. It is the tensor of that size used last, and
  slices of one size in a call lie side by side in it.
- An input is the newest unread result of its shape. Otherwise it is the oldest unread result that it can be a view of,
  in the order in which several projections of one input are used: one shape's dimensions split the other's.
- Without an unread result, the operand of an addition of two tensors is the last result of such an addition: a
  residual connection. Other inputs are the result of their size used last.
- A backward reads gradients, which are its own results, and what the forward kept, in reverse order. A product with a
  transposed left operand is the gradient of a weight: one factor is the gradient that the product before it read.
- The left operand of a product that follows a product of the same shape is the same tensor, at once or if no unread
  result can be it. The right operand is a weight and comes from DRAM, unless it was just converted to another type or
  the product has a batch.
- What a concatenation makes a little longer is a cache that an earlier step wrote: it comes from DRAM, like all inputs
  that match nothing.
- What is written by rows is a cache or a table of its own that stays.
- A result dies two calls after its last reader, and the next one of its size takes its memory, the last freed first.
"""

from ridgeline.analyze.cache_model.heuristic.bindings import alone as alone
from ridgeline.analyze.cache_model.heuristic.bindings import guess as guess
from ridgeline.analyze.cache_model.heuristic.records import Record as Record
from ridgeline.analyze.cache_model.heuristic.records import Recorded as Recorded
from ridgeline.analyze.cache_model.heuristic.records import recorded as recorded
