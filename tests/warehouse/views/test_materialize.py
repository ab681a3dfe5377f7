"""Views materialized for a connection."""

from __future__ import annotations

from pathlib import Path

from ridgeline.warehouse import connect, materialize, refresh


def test_materialized_views_give_the_same_answers(tmp_path: Path) -> None:
    path = tmp_path / "w.duckdb"
    connection = connect(path)
    connection.execute("INSERT INTO counters VALUES ('r', 1, 'dram__bytes.sum', 5, 'ncu')")
    connection.execute(
        "INSERT INTO runs BY NAME SELECT 'r' AS run_id, 'n' AS name, '' AS content_sha256, 'kineto' AS source,"
        " 'cuda' AS device_kind, 0 AS rank, 'ok' AS outcome, 0 AS device_time_ns, 1 AS rules_version"
    )
    refresh(connection)
    connection.close()
    asked = "SELECT run_id, kernel_id, dram_bytes FROM kernel_counters"
    reader, holder = (connect(path, read_only=True) for _ in range(2))
    materialize(holder, "kernel_counters", "step_costs")
    assert reader.execute(asked).fetchall() == holder.execute(asked).fetchall() == [("r", 1, 5.0)]
    for (view,) in reader.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall():
        described = f"DESCRIBE {view}"
        assert reader.execute(described).fetchall() == holder.execute(described).fetchall()
    held = holder.execute("SELECT table_name FROM duckdb_tables() WHERE temporary ORDER BY 1").fetchall()
    assert held == [("held_kernel_counters",), ("held_step_costs",)]
    reader.close()
    holder.close()
