"""Collectives, by the traffic of one device's own memory: its input is read once, its result written once.

Traffic of other devices' memory and of the library's buffers is not counted. Additions count as 0, since the network
does them or ranks share them in a way that is not recorded. ``record_param_comms`` records the input and the number of
ranks; the name of the collective comes from its kernel's name, and ingest writes it into the signature.
"""

from __future__ import annotations

from ridgeline.analyze.pricing.rules.rule import EngineRule, no_flops
from ridgeline.analyze.pricing.signature import Arguments, tensors_of, total_bytes

_RANKS_GATHERED = {"AllGather": 1, "ReduceScatter": -1}
"""The power of the number of ranks by which the result is larger than the input; 0 for other collectives."""


def resized(size: int, collective: str, ranks: int) -> int:
    """Bytes of the result of a collective."""
    power = _RANKS_GATHERED.get(collective, 0)
    return size * ranks if power > 0 else size // max(ranks, 1) if power < 0 else size


def _recorded(call: Arguments) -> tuple[int, int]:
    """Bytes of a collective whose name and input are recorded; ValueError otherwise."""
    collective, ranks = call.arguments.get("collective"), call.number("ranks")
    tensors = tensors_of(call.arguments.get("input"))
    # Only gathers and scatters need the number of ranks.
    if not isinstance(collective, str) or not tensors or (ranks is None and collective in _RANKS_GATHERED):
        raise ValueError("the collective, its input or its number of ranks is not recorded")
    size = total_bytes(tensors)
    return size, resized(size, collective, ranks or 1)


ENGINE_RULES = (
    EngineRule(
        ("record_param_comms",), "-input? _sequence? _group? _rank? _collective _in? _out? _first? _stride? _ranks",
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
