"""DRAM bytes that know the L2: each kernel's reads and writes, predicted from the sequence of kernels.

**Use.** :func:`read_execution_trace` gives the tensors of every operator's call, :func:`operands` what each kernel
touches, :func:`predict` its DRAM bytes. Without an execution trace :func:`guess` makes the calls up from recorded
shapes and their order (its rules are in :mod:`analyze.cache_model.heuristic`).

**The model**, in the order of its modules:

- *touches*: a kernel reads its operator's inputs and writes its outputs, each distinct (storage, offset) once;
  broadcast dimensions count once and strided views whole sectors of 32 bytes. Lookups read as much of the table as
  comes out; in-place scatters write as much as comes in; fills and copies do not read what they replace.
- *tiles*: a matrix product takes its tile from the kernel's name (``nvjet_..._192x192_...``), and as many waves as
  fill the device with one tile a multiprocessor. A wave reads all of the left operand again, its part of the right
  one, and writes its part of the result at its end. Products split over K leave partial sums in one workspace, in
  fp32, which the reducing kernel reads. A softmax reads its rows three times, a wave of rows at a time, unless they
  fit the L1.
- *phases*: operands are cut into granules of at most 1 MiB; those of a streaming kernel advance side by side.
- *lru*: the L2 is a stack of granules. One is lost in so far as the bytes used after it exceed 95 % of the L2,
  softened by the chance of hashed sets of 32 ways. Bytes that cross to the other half of the L2 are held twice: 0.4
  extra copies of what is read once, 0.6 of what multiprocessors everywhere read; written bytes are held once, so that
  the L2 acts as one of 30 to 60 MB. A line written is written back when it is lost, or when half the capacity was
  written after it; what is written again before that, or dies there and its memory is reused, costs nothing.
- *code*: instructions are read through the L2 too. ``code.toml`` has their bytes by kind of kernel; they are most of
  what small kernels read.
- *predict*: a step is taken to follow one like itself; equal steps (the same kernels and operands, whatever the
  storages' numbers) are predicted once.

**Assumptions.** The device runs one kernel at a time. Storages are distinct unless their ids are equal. Which rows a
lookup or scatter touches is unknown. 132 multiprocessors unless told. What the profiler itself moves is not modelled
(some 0.1 GB of writes in a decode step under Nsight Compute, up to some MB a step under CUPTI): a model so small that
its steps live in the L2 is predicted to move nothing, where the counters show that. Nor is compression.

**Error** against DRAM counters of one H200 (60 MiB L2), 8B shapes. The policy and ``code.toml`` were fitted to the
first two. The other two took no part in that fit, but are no blind test: rules were found by looking at all four (the
L1 in a softmax and the sharpness of write-back on ``dlm_prefix``, two entries of ``code.toml`` on ``ar_decode_b16``).

=============== ====== ====== ======= ========================================= ========
step            bytes  reads  writes  worst family of 2 % of the bytes or more  Spearman
=============== ====== ====== ======= ========================================= ========
ar_decode       -0.8 % -0.0 % -91 %   matmul -0.8 %                                0.972
dlm_full        +1.5 % +0.3 % +3.9 %  pointwise +3.3 %                             0.957
ar_decode_b16   -0.5 % +0.1 % -33 %   attention -1.3 %                             0.952
dlm_prefix      +0.1 % +0.3 % -2.6 %  matmul +0.3 %                                0.954
=============== ====== ====== ======= ========================================= ========

Spearman's correlation is that of reads plus writes over the kernels of a step, ties averaged. Without the execution
trace the same steps are within 3.5 % in total at correlations of 0.82 to 0.94, and families of a full step whose
tensors are mistaken for each other are far off (attention -80 %); other steps measured: full -4 %, block refresh -6 %,
reuse -0.4 %.
"""

from analyze.cache_model.execution_trace import read_execution_trace
from analyze.cache_model.heuristic import Recorded, guess
from analyze.cache_model.lru import Policy
from analyze.cache_model.operands import SCHEMA, Tensor, Touch, frame, view
from analyze.cache_model.predict import predict
from analyze.cache_model.touches import Node, addresses, operands

VERSION = 1
"""Of what the model says; raised with every change of it, so that what was remembered is predicted anew."""

__all__ = [
    "SCHEMA",
    "VERSION",
    "Node",
    "Policy",
    "Recorded",
    "Tensor",
    "Touch",
    "addresses",
    "frame",
    "guess",
    "operands",
    "predict",
    "read_execution_trace",
    "view",
]
