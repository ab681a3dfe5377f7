"""Collectives: the bytes that cross a link, and the traffic of one device's own memory.

``record_param_comms`` records the input, the number of ranks and, since torch 2.1, the collective, its element type and
its sizes; for older ones ingest writes into the signature what the kernel's name says.

Bytes over a link are those of nccl-tests' bus bandwidth (doc/PERFORMANCE.md of NVIDIA/nccl-tests): the message size S
times 2(n-1)/n for an all-reduce of n ranks, (n-1)/n for all-gather, reduce-scatter, all-to-all, gather and scatter, 1
for broadcast, reduce, send and receive. S is the larger of input and result of a rank, and 0 bytes cross a link in a
group of one. So many bytes leave or reach a rank at least, whatever the algorithm, unless a switch reduces or copies.

In its own memory a device reads its input once and writes its result once; traffic of other devices' memory and of the
library's buffers is not counted. Additions count as 0, since the network does them or ranks share them in a way that is
not recorded.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ridgeline.analyze.pricing.cost import Price
from ridgeline.analyze.pricing.families import family
from ridgeline.analyze.pricing.rules.rule import EngineRule, no_flops
from ridgeline.analyze.pricing.signature import DTYPES, Arguments, Call, tensors_of, total_bytes
from ridgeline.analyze.reading.collectives import RECORDER

NAME = 4
"""Position of the collective's name among the arguments of ``record_param_comms``."""
_RANKS = {RECORDER: 9, "_c10d_functional::all_gather_into_tensor": 1, "_c10d_functional::reduce_scatter_tensor": 2}
"""Positions of the number of ranks."""
_KINDS = (
    "all_to_all", "all_reduce", "reduce_scatter", "all_gather", "broadcast", "gather", "scatter", "reduce", "send",
    "recv", "barrier",
)  # fmt: skip
"""The kinds of collectives. A name is of the first whose letters it contains: ``_allgather_base`` is an all-gather."""
_IN_PARTS = frozenset({"all_to_all", "reduce_scatter", "all_gather", "gather", "scatter"})
"""Collectives of which each rank keeps its own part, one of n."""
_NOT_A_LETTER = re.compile(r"[^a-z]")
_SIZES = {name.removeprefix("c10::"): size for name, (_, size) in DTYPES.items()} | {
    "Byte": 1, "Char": 1, "Bool": 1, "Short": 2, "UInt16": 2, "Int": 4, "UInt32": 4, "Long": 8, "UInt64": 8, "Float": 4,
    "Double": 8, "ComplexHalf": 4, "ComplexFloat": 8, "ComplexDouble": 16,
}  # fmt: skip
"""Bytes of an element by the names of ``c10::ScalarType``, which Kineto writes, and of the profiler."""


class Message(NamedTuple):
    """What a collective moves: its kind, the message size S in bytes, and the number of ranks, None if unknown."""

    collective: str
    size_bytes: int
    ranks: int | None

    @property
    def is_certain(self) -> bool:
        """True if the number of ranks is known or does not matter."""
        return self.ranks is not None or not (self.collective == "all_reduce" or self.collective in _IN_PARTS)

    @property
    def link_bytes(self) -> float:
        """Bytes over a link; if the number of ranks is unknown, those of two ranks, which are the fewest."""
        ranks = 2 if self.ranks is None else self.ranks
        if ranks < 2:
            return 0.0
        if self.collective == "all_reduce":
            return 2 * (ranks - 1) * self.size_bytes / ranks
        return (ranks - 1) * self.size_bytes / ranks if self.collective in _IN_PARTS else float(self.size_bytes)


def kind(name: str) -> str | None:
    """The kind of collective that a name says, None if it says none.

    >>> kind("ncclDevKernel_AllGather_RING_LL")
    'all_gather'
    """
    letters = _NOT_A_LETTER.sub("", name.lower())
    return next((each for each in _KINDS if each.replace("_", "") in letters), None)


def message(call: Call) -> Message | None:
    """The message of a call, None if its kind or its size is not recorded."""
    recorded = call.inputs[NAME] if call.operator == RECORDER and len(call.inputs) > NAME else call.operator
    collective = kind(call.texts.get("collective", "")) or (kind(recorded) if isinstance(recorded, str) else None)
    at = _RANKS.get(call.operator)
    number = call.inputs[at] if at is not None and at < len(call.inputs) else None
    ranks = int(number[:9]) or None if isinstance(number, str) and number.isdecimal() else None
    ranks = int(call.measures.get("ranks", 0)) or ranks
    size_bytes = _size_bytes(call, collective, ranks)
    return None if collective is None or size_bytes is None else Message(collective, size_bytes, ranks)


def _size_bytes(call: Call, collective: str | None, ranks: int | None) -> int | None:
    """The message size by the recorded sizes, else by the recorded tensors."""
    if collective == "barrier":  # an all-reduce of one element, which ranks wait for
        return 0
    elements = max(call.measures.get("in_elements", 0), call.measures.get("out_elements", 0))
    if elements and (item_bytes := _SIZES.get(call.texts.get("dtype", ""))):
        return int(elements) * item_bytes
    arguments = [tensors for value in call.inputs if (tensors := tensors_of(value))]
    if not arguments or 0 in [tensor.item_bytes for tensor in call.tensors]:
        return None
    largest = max(map(total_bytes, arguments))
    # the result of a gather is the larger side: without it, a rank's input times the ranks
    if len(arguments) == 1 and collective in ("all_gather", "gather"):
        return None if ranks is None else largest * ranks
    return largest


def with_message(call: Call, price: Price) -> Price:
    """The price of a call with the bytes that cross a link, where it is a collective."""
    if "collective" not in call.texts and family(call.operator, "", "kernel") != "communication":
        return price
    found = message(call)
    if found is None:
        return price
    return price._replace(
        flops=price.flops or 0,
        confidence="high" if found.is_certain and (price.method == "rule" or "collective" in call.texts) else "low",
        collective=found.collective,
        message_bytes=found.size_bytes,
        ranks=found.ranks,
        link_bytes=found.link_bytes,
    )


def resized(size: int, collective: str, ranks: int) -> int:
    """Bytes of the result of a collective whose input has ``size`` bytes."""
    power = {"all_gather": 1, "reduce_scatter": -1}.get(kind(collective) or "", 0)
    return size * ranks if power > 0 else size // max(ranks, 1) if power < 0 else size


def _recorded(call: Arguments) -> tuple[int, int]:
    """Bytes of a collective whose name and input are recorded; ValueError otherwise."""
    collective, ranks = call.arguments.get("collective"), call.number("ranks")
    tensors = tensors_of(call.arguments.get("input"))
    # Only gathers and scatters need the number of ranks.
    needs_ranks = isinstance(collective, str) and kind(collective) in ("all_gather", "reduce_scatter")
    if not isinstance(collective, str) or not tensors or (ranks is None and needs_ranks):
        raise ValueError("the collective, its input or its number of ranks is not recorded")
    size = total_bytes(tensors)
    return size, resized(size, collective, ranks or 1)


RULES = (
    EngineRule(
        (RECORDER,), "-input? _sequence? _group? _rank? _collective _in? _out? _first? _stride? _ranks",
        no_flops, _recorded,
    ),
    EngineRule(
        (
            "symm_mem::multimem_all_reduce_", "symm_mem::one_shot_all_reduce_", "symm_mem::two_shot_all_reduce_",
            "_c10d_functional::all_reduce_", "_c10d_functional::broadcast_", "sglang::inplace_all_reduce",
        ),
        "+input", no_flops,
    ),
    EngineRule(
        (
            "symm_mem::one_shot_all_reduce", "vllm::all_reduce", "_c10d_functional::all_reduce",
            "_c10d_functional::broadcast", "_c10d_functional::all_to_all_single", "sglang::outplace_all_reduce",
        ),
        "input", no_flops, lambda call: (0, call.needed("input").distinct_bytes),
    ),
    EngineRule(
        ("_C_custom_ar::all_reduce", "sgl_kernel::all_reduce", "_C_custom_ar::qr_all_reduce"),
        "_context input =out", no_flops,
    ),
    EngineRule(
        ("_c10d_functional::all_gather_into_tensor",), "input _ranks", no_flops,
        lambda call: (0, call.needed("input").distinct_bytes * (call.number("ranks") or 1)),
    ),
    EngineRule(
        ("_c10d_functional::reduce_scatter_tensor",), "input _operation _ranks", no_flops,
        lambda call: (0, call.needed("input").distinct_bytes // max(call.number("ranks") or 1, 1)),
    ),
    EngineRule(
        ("c10d::_allgather_base_", "c10d::_reduce_scatter_base_", "c10d::alltoall_base_"), "=out input", no_flops
    ),
    EngineRule(("_c10d_functional::wait_tensor",), "-input", no_flops),
)  # fmt: skip
