"""A coverage-guided fuzzer over reader, columns, frames and attribution: `python tests/fuzz/fuzz_reader.py [CORPUS]`.

Whatever the bytes, a trace is read or refused with TraceError, by the scanner as event by event, and what is read
accounts for every nanosecond.
libFuzzer's own options apply (`-max_total_time=60`).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def check(path: Path, data: bytes) -> bool:
    """Read the bytes as a trace; whether they are one. Raises AssertionError where nanoseconds or kernels are lost."""
    from ridgeline.analyze.attribution.operators import (
        attribute,
        build_tree,
        operator_activities,
        parse_labels,
        step_labels,
    )
    from ridgeline.analyze.errors import TraceError
    from ridgeline.analyze.pricing.completed_signatures import assign
    from ridgeline.analyze.reading import early_start, parts
    from ridgeline.analyze.reading.columns import GROUPS, Columns
    from ridgeline.analyze.reading.salvage import salvage
    from ridgeline.analyze.reading.trace import assemble
    from ridgeline.analyze.tables.ledger import attribution_account

    def read(scanned_bytes: int) -> Columns:
        early_start.SCANNED_BYTES = scanned_bytes
        return parts.read_part(path)

    path.write_bytes(data)
    whole = True
    try:
        columns, scanned = read(1 << 60), read(0)
        assert (scanned.events, scanned.malformed) == (columns.events, columns.malformed)
        assert [scanned.rows(group) for group in GROUPS] == [columns.rows(group) for group in GROUPS]
    except TraceError:
        whole = False
        try:
            columns = salvage(path)
        except TraceError:
            return False
    try:
        trace = assemble([columns], path)
    except TraceError:
        return False
    labels = parse_labels(trace)
    tree = build_tree(trace, labels)
    step_labels(trace, tree, labels)
    if trace.device.is_empty():
        import numpy as np

        composite = np.zeros(len(trace.signatures), dtype=np.int64)
        assign(trace, operator_activities(trace, tree, composite))
        return whole
    activities = assign(trace, attribute(trace, tree))
    ranges = activities["category"].to_list().count(3)
    assert ranges in (0, len(activities))
    expected = trace.device if ranges else trace.device.filter(trace.device["category"] != 3)
    assert len(activities) == len(expected)
    recorded_ns = activities["recorded_ns" if "recorded_ns" in activities.columns else "duration_ns"]
    assert recorded_ns.sum() == expected["duration_ns"].sum()
    account = attribution_account(activities)
    assert sum(entry["duration_ns"] for entry in account) == activities["duration_ns"].sum()
    return whole


def main() -> None:
    sys.path.insert(0, str(ROOT))
    import atheris

    # atheris instruments only modules that are first imported in here
    with atheris.instrument_imports(include=["ridgeline.analyze"]):
        import ridgeline.analyze.attribution.operators
        import ridgeline.analyze.pricing.completed_signatures
        import ridgeline.analyze.reading.columns
        import ridgeline.analyze.reading.salvage
        import ridgeline.analyze.reading.trace
        import ridgeline.analyze.tables.ledger  # noqa: F401

    path = Path(tempfile.mkdtemp()) / "t.json"

    def one(data: bytes) -> None:
        check(path, data)

    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
