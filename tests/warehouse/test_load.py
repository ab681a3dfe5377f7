"""Rows reach the warehouse as values of a statement or by way of a frame, by their number."""

from __future__ import annotations

import math
from typing import Any

from ridgeline.warehouse import connect
from ridgeline.warehouse.insertion import FEW_ROWS, insert

ROWS: list[dict[str, Any]] = [
    {"time_ns": 1, "power_w": 0.1, "throttle_reasons": "0x4"},
    {"time_ns": 1 << 62, "power_w": math.nan, "throttle_reasons": None},
    {"time_ns": 3, "power_w": None, "sm_clock_hz": 7},
]


def test_few_rows_are_stored_as_many_are() -> None:
    columns = "time_ns, power_w, sm_clock_hz, throttle_reasons"
    stored = f"SELECT DISTINCT {columns} FROM telemetry WHERE run_id = ? ORDER BY time_ns"
    with connect(":memory:") as connection:
        insert(connection, "telemetry", ROWS, "few")
        insert(connection, "telemetry", ROWS * FEW_ROWS, "many")
        few, many = (connection.execute(stored, [run_id]).fetchall() for run_id in ("few", "many"))
        insert(connection, "telemetry", [], "none")
    assert few == many == [(1, 0.1, None, "0x4"), (3, None, 7.0, None), (1 << 62, None, None, None)]
