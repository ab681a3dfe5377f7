"""Collectives, by what one device's own memory sees: its input is read once, its result written once.

What passes through other devices' memory, and buffers of the library, is theirs. Additions count as none: they are
done in the network or shared among ranks in a way that is not recorded. ``record_param_comms`` records the input and
the number of ranks; which collective it was is in its kernel's name, which is written into its signature at ingest.
"""

from __future__ import annotations

from ridgeline.analyze.pricing.rules.rule import EngineRule, no_flops
from ridgeline.analyze.pricing.signature import Arguments

_RANKS_GATHERED = {"AllGather": 1, "ReduceScatter": -1}
"""Whether the result is the input times the number of ranks, or divided by it; of other collectives it is as large."""


def resized(size: int, collective: str, ranks: int) -> int:
    """Bytes of the result of a collective."""
    power = _RANKS_GATHERED.get(collective, 0)
    return size * ranks if power > 0 else size // max(ranks, 1) if power < 0 else size


def _recorded(call: Arguments) -> tuple[int, int]:
    """A collective that its kernel named; ValueError where nothing did."""
    collective, ranks = call.arguments.get("collective"), call.number("ranks")
    given = call.arguments.get("input")
    tensors = given if isinstance(given, list) else call.tensors("input")
    if not isinstance(collective, str) or not tensors or (ranks is None and collective in _RANKS_GATHERED):
        raise ValueError("which collective it was, or of what, is not recorded")
    size = sum(t.distinct_bytes for t in tensors)
    return size, resized(size, collective, ranks or 1)


def _gathered(call: Arguments) -> tuple[int, int]:
    return 0, call.needed("input").distinct_bytes * (call.number("ranks") or 1)


def _scattered(call: Arguments) -> tuple[int, int]:
    return 0, call.needed("input").distinct_bytes // max(call.number("ranks") or 1, 1)


def _same(call: Arguments) -> tuple[int, int]:
    return 0, call.needed("input").distinct_bytes


ENGINE_RULES = (
    EngineRule(
        ("record_param_comms",),
        "-input? _sequence? _group? _rank? _collective _in? _out? _first? _stride? _ranks",
        no_flops,
        _recorded,
    ),
    EngineRule(
        (
            "symm_mem::multimem_all_reduce_", "symm_mem::one_shot_all_reduce_", "symm_mem::two_shot_all_reduce_",
            "_c10d_functional::all_reduce_", "_c10d_functional::broadcast_",
        ),
        "+input",
        no_flops,
    ),
    EngineRule(
        (
            "symm_mem::one_shot_all_reduce", "vllm::all_reduce", "_c10d_functional::all_reduce",
            "_c10d_functional::broadcast", "_c10d_functional::all_to_all_single", "sglang::outplace_all_reduce",
        ),
        "input",
        no_flops,
        _same,
    ),
    EngineRule(("sglang::inplace_all_reduce",), "+input", no_flops),
    EngineRule(("_C_custom_ar::all_reduce", "sgl_kernel::all_reduce"), "_context input =out", no_flops),
    EngineRule(("_C_custom_ar::qr_all_reduce",), "_context input =out", no_flops),
    EngineRule(("_c10d_functional::all_gather_into_tensor",), "input _ranks", no_flops, _gathered),
    EngineRule(("_c10d_functional::reduce_scatter_tensor",), "input _operation _ranks", no_flops, _scattered),
    EngineRule(("c10d::_allgather_base_", "c10d::_reduce_scatter_base_"), "=out input", no_flops),
    EngineRule(("c10d::alltoall_base_",), "=out input", no_flops),
    EngineRule(("_c10d_functional::wait_tensor",), "-input", no_flops),
)  # fmt: skip
