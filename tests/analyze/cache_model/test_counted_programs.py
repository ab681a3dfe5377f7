"""Eight programs as users record them, against Nsight Compute's counters of one of their steps.

No rule may be fitted to one of them alone: other programs of the same kinds are kept aside.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ridgeline.analyze.ingest import analyze
from tests.analyze.loading import query

SHARED = Path(__file__).parents[4] / "shared" / "foreign"
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="the counted programs are not beside the project")

SHOWN = """
    SELECT
      name, family, confidence = 'high' AS is_certain, duration_ns, counter_dram_bytes AS counted, roof_fraction,
      CASE WHEN counter_dram_bytes IS NOT NULL THEN COALESCE(cache_model_bytes, compulsory_bytes, 0) END AS shown
    FROM kernel_roofline
    WHERE step IS NOT NULL
"""


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("counted") / "w.duckdb"
    assert {result.outcome for result in analyze([SHARED], path)} == {"loaded"}
    return path


def beyond(warehouse: Path, measure: str, group: str, condition: str) -> list[tuple[Any, ...]]:
    """The groups whose measure fulfils the condition."""
    return query(
        warehouse, f"SELECT {group}, {measure} FROM ({SHOWN}) GROUP BY {group} HAVING {condition} ORDER BY ALL"
    )


def test_bytes_of_programs(warehouse: Path) -> None:
    error = "SUM(shown) / SUM(counted) - 1"
    assert beyond(warehouse, error, "name", f"ABS({error}) > 0.1") == []


def test_bytes_of_families_with_a_twentieth_of_a_program(warehouse: Path) -> None:
    rows = query(warehouse, f"SELECT name, family, SUM(shown), SUM(counted) FROM ({SHOWN}) GROUP BY ALL")
    total = {name: sum(row[3] or 0 for row in rows if row[0] == name) for name, *_ in rows}
    large = [row for row in rows if max(row[2] or 0, row[3] or 0) >= 0.05 * total[row[0]]]
    assert len(large) > 20
    errors = {(name, family): shown / counted for name, family, shown, counted in large}
    assert {key: share for key, share in errors.items() if not 0.7 <= share <= 1.3} == {}


def test_time_with_a_certain_price(warehouse: Path) -> None:
    certain = "SUM(CASE WHEN is_certain THEN duration_ns ELSE 0 END) / SUM(duration_ns)"
    assert beyond(warehouse, certain, "name", f"{certain} < 0.97") == []


def test_certain_prices_stay_below_the_roof(warehouse: Path) -> None:
    highest = "MAX(CASE WHEN is_certain THEN roof_fraction END)"
    assert beyond(warehouse, highest, "name", f"{highest} > 1.1") == []
