"""DRAM bytes that know the L2: each kernel's reads and writes, predicted from the sequence of kernels.

**Use.** :func:`read_execution_trace` gives the tensors of every operator's call, :func:`operands` what each kernel
touches, :func:`predict` its DRAM bytes. Without an execution trace :func:`guess` makes the calls up from recorded
shapes and their order (its rules are in :mod:`ridgeline.analyze.cache_model.heuristic`).

**The model**, in the order of its modules:

- *touches*: a kernel reads its operator's inputs and writes its outputs, each distinct (storage, offset) once;
  broadcast dimensions count once and strided views whole sectors of 32 bytes. Lookups read as much of the table as
  comes out; in-place scatters write as much as comes in; fills and copies do not read what they replace.
  Of operands longer than 2 GiB, which PyTorch's iterator cuts, each launch touches its part.
- *tiles*: a matrix product takes its tile from the kernel's name (``nvjet_..._192x192_...``), and as many waves as
  fill the device with one tile a multiprocessor. A wave covers a block of a few rows of tiles and as many columns as
  fill the device, reads the rows and columns of its operands, and writes its part of the result at its end; blocks go
  down a panel of columns, then on to the next panel. How high a block is was fitted to counters of 125 products of
  their own. Products split over K leave partial sums in one workspace, in fp32, which the reducing kernel reads. A
  softmax reads its rows three times, a wave of rows at a time, unless they fit the L1.
- *phases*: operands are cut into granules of at most 1 MiB; those of a streaming kernel advance side by side.
- *lru*: the L2 is a stack of granules. One is lost in so far as the bytes used after it exceed 95 % of the L2,
  softened by the chance of hashed sets of 32 ways. Bytes that cross to the other half of the L2 are held twice: 0.4
  extra copies of what is read once, 0.6 of what multiprocessors everywhere read; written bytes are held once, so that
  the L2 acts as one of 30 to 60 MB. A line written is written back when it is lost, or when 55 % of the
  capacity was written after it; what is written again before that, or dies and its memory is reused, costs nothing.
- *code*: instructions are read through the L2 too. ``code.toml`` has their bytes by kind of kernel; they are most of
  what small kernels read.
- *predict*: a step is taken to follow one like itself; equal steps (the same kernels and operands, whatever the
  storages' numbers) are predicted once.

**Assumptions.** The device runs one kernel at a time. Storages are distinct unless their ids are equal. Which rows a
lookup or scatter touches is unknown. 132 multiprocessors unless told. What the profiler itself moves is not modelled
(some 0.1 GB of writes in a decode step under Nsight Compute, up to some MB a step under CUPTI): a model so small that
its steps live in the L2 is predicted to move nothing, where the counters show that. Nor is compression.

**Error** against DRAM counters of one H200 (60 MiB L2), 8B shapes in bf16, of a step's bytes. ``code.toml`` was fitted
to ``ar_decode`` and ``dlm_full`` of the first four, which Nsight Compute counted. The others are runs of this project,
counted by CUPTI: no rule was made for one of them alone, but the share of dirty bytes, blocks of products and the caps
of generated kernels were settled looking at them, so they are no blind test either.

=============================== ======= ====================== ============================== ========
step                             bytes  compulsory bytes alone  worst family (2 % of the bytes) Spearman
=============================== ======= ====================== ============================== ========
ar_decode                       -0.8 %  -0.8 %                  matmul -0.8 %                     0.971
ar_decode_b16                   -0.5 %  +0.4 %                  attention -1.3 %                  0.952
dlm_full                        +1.0 %  +29 %                   copy -18 %                        0.959
dlm_prefix                      +0.1 %  +11 %                   pointwise -7 %                    0.956
ar prefill, 1024 tokens         -5.3 %  +16 %                   copy +29 %                        0.972
ar prefill, 4 x 3000            -0.6 %  -32 %                   reduction -2 %                    0.996
ar decode, context 1024 or 3000 -0.1 %  -0.1 %                  matmul -0.1 %                     0.971
block_dual refresh, graph       +0.6 %  +32 %                   copy +18 %                        0.954
block_dual reuse, graph         +0.0 %  +3 %                    attention -0.1 %                  0.971
block_causal prefill            +0.9 %  +27 %                   attention -20 %                   0.968
block_causal reuse and commit   -0.3 %  +3 %                    attention -0.4 %                  0.940
full, eager                     -0.6 %  +27 %                   reduction -8 %                    0.978
=============================== ======= ====================== ============================== ========

Spearman's correlation is that of reads plus writes over the kernels of a step, ties averaged. Of compiled steps totals
are within 3.5 %, but generated kernels up to 28 % and attention after them up to 63 % (3 % of the bytes) off, at
correlations of 0.79 to 0.99: which of their arguments generated kernels write is not recorded.

Captured when all of this was settled: both shapes in all six modes, and ``ar`` with 32 KV heads, 24 kinds of steps.
Those of LLaDA were within 1.9 % in bytes, of LLaMA decode, reuse and commit within 0.5 %, at correlations of 0.93 to
0.98; LLaMA's full steps came out 4 to 10 % low, in products of 7 or 9 rows of tiles. Since then those are taken by
halves, and the steps are -5 to +3 %, one (semi_ar) +8.5 %; copies of its refresh, 2 % of the bytes, are 37 % high.
Of the 87 counted runs of the study (batches to 128, 32,768 positions, 34B and 70B layers, 8 bits, block-sparse
attention) 84 are within 5.5 % in bytes, the others +8, +9 and +11 %: FINDINGS.md has them by mode and execution.

Without the execution trace the first four are within 0.9 % in total, at correlations of 0.84 to 0.94 (compulsory bytes:
0.65 to 0.89); families whose tensors are mistaken for each other are off (attention of a full step -36 %).
"""

from ridgeline.analyze.cache_model.execution_trace import read_execution_trace
from ridgeline.analyze.cache_model.heuristic import Recorded, guess
from ridgeline.analyze.cache_model.lru import Policy
from ridgeline.analyze.cache_model.operands import SCHEMA, Tensor, Touch, frame, view
from ridgeline.analyze.cache_model.predict import predict
from ridgeline.analyze.cache_model.touches import Node, addresses, operands

VERSION = 2
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
