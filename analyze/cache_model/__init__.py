"""A model of the L2: each kernel's DRAM reads and writes, predicted from the sequence of kernels.

**Use.** ``execution_trace.read_execution_trace`` returns the tensors of every operator's call, ``launches.operands``
the operands of each kernel, ``predict.predict`` its DRAM bytes. Without an execution trace ``heuristic.guess`` derives
the calls from recorded shapes and their order (its rules are in :mod:`ridgeline.analyze.cache_model.heuristic`).

**The model**, in the order of its modules:

- *launches*: a kernel reads its operator's inputs and writes its outputs, each distinct (storage, offset) once.
  Broadcast dimensions count once; strided views count whole sectors of 32 bytes. Fills and copies do not read the
  bytes that they replace. PyTorch's iterator cuts operands longer than 2 GiB, and each launch touches its part. Of
  operators with several kernels, each touches what its source says: passes of a radix sort, statistics of a norm. If
  no rule tells the kernels of a call apart, their bytes are unknown.
- *gathers*: n lookups or sums by index touch N(1 - (1 - 1/N)^n) of N rows, sectors at least. *predict* adds the rows
  that the L2 loses between two draws of them. On the counted gathers of a graph network (1 M draws of 100,000 rows of
  512 bytes, a table of the size of the L2) the reads are 6 % low, sums by index 2 % high.
- *lists*: tensors are packed into launches as ``multi_tensor_apply`` does it, and each launch touches its own. On the
  counted optimizers and norms of ten training programs an operator's bytes are within 3.5 %.
- *softmax*: a block takes a row, and reads it three times, a wave of rows at a time, unless the rows fit three quarters
  of the L1; the backward pass reads a gradient twice. Within 7 % of the counters of eleven launches.
- *convolutions*: a layout kernel copies one operand or the result, and the main kernel reads the copies. Names tell
  apart the two products of a backward pass, else their order does. Strides longer than windows skip pixels. Totals are
  within 6 % on six counted programs (an image model's training and inference, video, diffusion).
- *images*: cuDNN's batch norms read a channel, or what they cannot keep of 64 channels, twice.
- *attention*: the backward pass sums the queries' gradient in fp32, in a workspace that three kernels pass through.
- *recurrent*: the matrix of the hidden state passes through the L2 at every step; layers take turns. Within 3 % on a
  LSTM and a GRU.
- *experts*: a grouped product reads the matrices that even routing reaches, since the trace does not say which experts
  get tokens, and fewer if it was faster than equal calls: its time grows with its tiles, and an expert of few tokens
  has one of its own. Where routing by random weights left out up to 45 % of 128 experts, a call's bytes are within 21 %
  and the total is within 1 %.
- *tiles*: the kernel's name has the tile of a matrix product (``nvjet_..._192x192_...``). A wave fills the device with
  one tile a multiprocessor: a block of a few rows of tiles and as many columns as fit. It reads the rows and columns of
  its operands, and writes its part of the result at its end. Blocks go down a panel of columns, then on to the next
  panel. The height of a block was fitted to counters of 125 products that were run alone. Kernels named ``xmma`` take
  whole columns; a multiprocessor holds two of their smaller tiles. A wave has tiles of several small products of a
  batch. Products split over K leave partial sums in one fp32 workspace, which the reducing kernel reads.
- *l2.c*, phases: operands are cut into granules of at most 1 MiB. A streaming kernel takes the granules of all its
  operands side by side. Slices of one granule, such as query, key and value, are touched together.
- *l2.c*, stack: the L2 is a stack of granules. A granule is lost once the bytes used after it exceed 95 % of the L2,
  gradually, since addresses are hashed to sets of 32 ways. Bytes that cross to the other half of the L2 are held twice:
  0.4 extra copies of bytes that one multiprocessor reads, 0.6 of tiles that both halves read, and 1 of transposed or
  repeated operands, which any multiprocessor reads at any time, a sector after the other. Written bytes are held once.
  So the L2 acts like one of 30 to 60 MB. A written line is written back when it is lost, or when 55 % of the capacity
  was written after it. It costs nothing if it is overwritten before that, or dies and its memory is reused.
- *code*: instructions pass through the L2 too. ``code.toml`` has their bytes by kind of kernel; they are most of the
  reads of small kernels.
- *predict*: each step is modelled as following an equal step.

*l2.c* is compiled to WebAssembly (``make wasm``), checked in as ``l2.wasm``, and run by *l2* for *simulation*: it costs
2 to 20 µs a kernel, and the same file runs on every platform. Its memory has a bound of 256 MiB, its work one of some
ten seconds. *policy* has the parameters.

**Assumptions.** The device runs one kernel at a time. Storages are distinct unless their ids are equal. The rows that a
lookup or scatter touches are unknown: each is as likely as any other, so indices that favour some rows (tokens of a
text) touch fewer. A device has 132 multiprocessors unless stated. Bytes that the profiler moves are
not modelled (about 0.1 GB of writes in a decode step under Nsight Compute, up to a few MB a step under CUPTI), nor is
compression. A model whose steps fit in the L2 is therefore predicted to move nothing, where counters show these bytes.

**Error** of a step's bytes against DRAM counters of one H200 (60 MiB L2), 8B shapes in bf16. ``code.toml`` was fitted
to ``ar_decode`` and ``dlm_full`` of the first four, which Nsight Compute counted. CUPTI counted the others, runs of
this project. No rule was made for one of them alone, but they informed the share of dirty bytes, the blocks of products
and the caps of generated kernels, so they are no blind test.

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

Spearman's correlation is between predicted and counted reads plus writes of a step's kernels, ties averaged. Totals of
compiled steps are within 3.5 %, but generated kernels are up to 28 % off and attention after them up to 63 % (3 % of
the bytes), at correlations of 0.79 to 0.99: it is not recorded which of their arguments generated kernels write.

A blind test came after these choices: both shapes in all six modes, and ``ar`` with 32 KV heads, 24 kinds of steps.
LLaDA's steps were within 1.9 % in bytes, LLaMA's decode, reuse and commit within 0.5 %, at correlations of 0.93 to
0.98. LLaMA's full steps came out 4 to 10 % low, in products of 7 or 9 rows of tiles. Such rows are now halved, and the
steps are within -5 to +3 %, one (semi_ar) at +8.5 %; copies of its refresh, 2 % of the bytes, are 37 % high.
Of the 87 counted runs of the study (batches to 128, 32,768 positions, 34B and 70B layers, 8 bits, block-sparse
attention) 84 are within 5.5 % in bytes, the others +8, +9 and +11 %: FINDINGS.md has them by mode and execution.

Without the execution trace the first four are within 1 % in total. On 24 other programs (training, prefill, decoding,
diffusion, detection, graphs, recommendation) that Nsight Compute counted beside an ordinary trace, totals are within
5 %, and families with 5 % of a program's bytes within 30 %. They informed the rules, so they are no blind test either.
On 14 programs that nobody looked at meanwhile, totals are within 10.2 %, 4.1 % on average.
"""

VERSION = 3
"""Version of the model's numbers. Raise it with every change of them, so that stored sequences are predicted again."""
