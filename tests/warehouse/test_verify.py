"""`verify` finds every change, and nothing in an intact warehouse."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ridgeline.analyze.ingest import analyze
from ridgeline.warehouse import WarehouseError, connect
from ridgeline.warehouse.load import forget
from ridgeline.warehouse.rollups import KEPT_TABLES
from ridgeline.warehouse.schema.tables import RUN_TABLES, SHARED_TABLES
from ridgeline.warehouse.verify import CHECKED, SHARED, checks, verify
from ridgeline.warehouse.views import definitions
from tests.analyze import kineto
from tests.analyze.loading import dump, load, query
from tests.command_line import ridgeline
from tests.sampling import exhaustive, pick

DATA = Path(__file__).parents[1] / "data"
RUNS = (
    DATA / "h200" / "tiny-llada_dlm_full_p256_g64_b1_block16_k64_bf16_eager",
    DATA / "h200-counted" / "tiny-llama_ar_p64_g32_b1_bf16_eager",
)
BLOCK = 4096
LLADA, LLAMA = "tiny-llada", "tiny-llama"
TRACES = DATA.parents[1].parent / "shared" / "traces"


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("loaded") / "w.duckdb"
    assert [result.outcome for result in analyze(RUNS, path)] == ["loaded", "loaded"]
    return path


@pytest.fixture
def warehouse(loaded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(loaded, tmp_path / "w.duckdb"))


def change(path: Path, *statements: str) -> None:
    """Change a warehouse by another program than Ridgeline."""
    with duckdb.connect(str(path)) as connection:
        for statement in statements:
            connection.execute(statement)


def findings(path: Path) -> dict[str, list[str]]:
    """Return the findings by the first word of the run's name, of runs that have any."""
    found, _ = verify(path)
    return {run.name.partition("_")[0]: run.findings for run in found if run.findings}


def test_a_loaded_warehouse_has_no_findings(warehouse: Path) -> None:
    found, remarks = verify(warehouse)
    assert [run.findings for run in found] == [[], []]
    rows = {name: len(rows) for name, rows in dump(warehouse).items()}
    shared = ("signatures", "sequences", "schema_version", "descriptions", "digests", *KEPT_TABLES)
    with connect(warehouse, read_only=True) as connection:
        datasheets = connection.execute("SELECT count(*) FROM ceilings WHERE run_id IS NULL").fetchall()[0][0]
    assert sum(run.rows for run in found) == sum(n for name, n in rows.items() if name not in shared) - datasheets
    assert remarks == []


# In each group no change gives the finding that another one is to give.
CHANGES: list[list[tuple[str, str, str]]] = [
    [  # none of what rollups are made of
        ("UPDATE kept_kernel_groups SET flops = flops * 2 WHERE flops > 0", LLAMA, "^kept_kernel_groups: differs"),
        ("DELETE FROM kept_step_parts", LLAMA, "^kept_step_parts: differs from what the facts give"),
        ("UPDATE telemetry SET power_w = power_w + 0.001", LLAMA, r"^telemetry: not what was stored "),
        ("DELETE FROM digests WHERE table_name = 'timings'", LLAMA, r"^timings: not what was stored .* of 0"),
        ("UPDATE runs SET name = name || 'x'", LLAMA, r"^runs: not what was stored \(1 rows\)$"),
    ],
    [
        ("UPDATE timings SET value_ns = value_ns + 1 WHERE step = 3", LLAMA, r"^timings: not what was stored"),
        ("UPDATE ceilings SET value = value + 1 WHERE run_id IS NULL", SHARED, r"^ceilings: not what was stored"),
        ("UPDATE signatures SET flops = flops + 1 WHERE flops > 0", SHARED, r"^signatures: not what was stored"),
        ("DELETE FROM counters WHERE kernel_id = 5", LLAMA, r"^counters: not what was stored .* of"),
        ("UPDATE ledger SET kernels = kernels + 1", LLAMA, r"^ledger: account attribution sums to 581 ker"),
        ("UPDATE gaps SET sync_ns = sync_ns + 1", LLAMA, r"gaps whose parts do not sum to their duration$"),
        ("UPDATE kernels SET share = 1.5 WHERE share = 1", LLAMA, r"kernels with a share outside 0 to 1"),
        ("UPDATE devices SET run_id = 'gone'", "gone", r"^devices: rows of a run that is missing$"),
        ("INSERT INTO operators FROM operators WHERE operator_id < 2", LLADA, "^operators: 2 duplicate ids"),
    ],
    [
        (
            "UPDATE kernels SET duration_ns = duration_ns + 1 WHERE kernel_id = 3",
            LLAMA,
            r"^kernels take 926651 ns, the run says 926650 ns$",
        ),
        ("UPDATE signatures SET flops = -1 WHERE flops > 0", SHARED, r"^signatures: \d+ with negative"),
        ("UPDATE gaps SET step_id = 99", LLAMA, r"gaps without their step$"),
        ("DELETE FROM ledger WHERE account = 'price'", LLAMA, r"^ledger: account price sums to 0 kernels and 0 "),
        ("DELETE FROM operators WHERE parent_id IS NULL", LLAMA, r"^\d+ operators without their parent$"),
    ],
    [
        ("DELETE FROM steps", LLAMA, r"kernels without their step$"),
        ("DELETE FROM kernel_classes WHERE class_id = 0", LLAMA, r"kernels without their class$"),
        ("DELETE FROM signatures", LLAMA, r"^\d+ classes of kernels without their signature$"),
        ("UPDATE ledger SET entry = 'launch' WHERE entry = 'external_id'", LLAMA, "attribution launch has 926650"),
        ("DELETE FROM gaps WHERE gap_id = 1", LLAMA, r"^device 0: busy and idle sum to \d+ of \d+ ns$"),
    ],
    [
        ("DELETE FROM operators", LLAMA, r"^\d+ kernels without their operator$"),
        ("INSERT INTO kernels FROM kernels WHERE kernel_id = 3", LLADA, "^kernels: 1 duplicate ids, such as 3"),
        ("DELETE FROM kernels WHERE kernel_id = 0", LLAMA, r"^2 gaps without the kernel before$"),
    ],
    [("DELETE FROM kernels", LLAMA, r"counters without their kernel$")],
]


@pytest.mark.parametrize("changes", [[one] for group in CHANGES for one in group] if exhaustive else CHANGES)
def test_changes_are_found(warehouse: Path, changes: list[tuple[str, str, str]]) -> None:
    change(warehouse, *(statement for statement, _, _ in changes))
    found = findings(warehouse)
    unfound = [
        expected
        for _, run, expected in changes
        if not any(re.search(expected, finding) for finding in found.get(run, []))
    ]
    assert unfound == [], found


def test_a_load_leaves_changes_of_earlier_shared_rows_to_be_found(warehouse: Path, tmp_path: Path) -> None:
    change(
        warehouse,
        "UPDATE ceilings SET value = value + 1 WHERE run_id IS NULL",
        "UPDATE descriptions SET description = description || 'x' WHERE column_name = 'run_id'",
    )
    load(warehouse, kineto.write(tmp_path / "priced.json", kineto.matmul_step()))
    assert {finding.partition(":")[0] for finding in findings(warehouse)[SHARED]} == {"ceilings", "descriptions"}


def test_values_swapped_between_rows_are_found(warehouse: Path) -> None:
    """The swap keeps every sum and every id."""
    swap = (
        "UPDATE operators SET start_ns = CASE operator_id WHEN 3 THEN b.start_ns ELSE a.start_ns END"
        " FROM operators a, operators b WHERE a.run_id = operators.run_id AND b.run_id = operators.run_id"
        " AND a.operator_id = 3 AND b.operator_id = 4 AND operators.operator_id IN (3, 4)"
    )
    change(warehouse, swap.replace("CASE operator_id", "CASE operators.operator_id"))
    assert {name: [finding.partition(":")[0] for finding in of] for name, of in findings(warehouse).items()} == {
        "tiny-llada": ["operators"],
        "tiny-llama": ["operators"],
    }


def test_the_order_of_rows_does_not_matter(warehouse: Path) -> None:
    change(
        warehouse,
        "CREATE TABLE turned AS FROM kernels ORDER BY kernel_id DESC",
        "DELETE FROM kernels",
        "INSERT INTO kernels FROM turned",
        "DROP TABLE turned",
    )
    assert findings(warehouse) == {}


def test_digests_by_another_hash_are_not_compared_but_reported(warehouse: Path) -> None:
    change(warehouse, "UPDATE digests SET probe = 'x', digest = 'y'")
    found, remarks = verify(warehouse)
    assert [run.findings for run in found] == [[], []]
    assert len(remarks) == 1
    assert "digests by another version of DuckDB were not compared: `ridgeline reprice` makes new ones" in remarks[0]
    assert ridgeline("reprice", "-w", warehouse).returncode == 0
    assert verify(warehouse)[1] == []


def test_a_line_for_each_run_and_exit_1(warehouse: Path) -> None:
    done = ridgeline("verify", "-w", warehouse)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.partition(" (")[0] for line in done.stdout.splitlines()] == [run.name for run in RUNS]
    assert all(line.endswith(" rows") and ": ok, " in line for line in done.stdout.splitlines())
    change(warehouse, "DELETE FROM counters WHERE kernel_id = 5")
    done = ridgeline("verify", "-w", warehouse)
    assert done.returncode == 1
    assert done.stderr == (
        f"ridgeline: {warehouse}: 1 of 2 runs are not as loaded: forget those, and analyze them again\n"
    )
    assert [": ok, " in line for line in done.stdout.splitlines()] == [True, False, False, False, False]


@pytest.mark.process
def test_a_flipped_byte_is_found_or_of_no_consequence(warehouse: Path) -> None:
    """A flipped byte anywhere gives one line and exit status 1, unless no row is stored there."""
    whole, before = warehouse.read_bytes(), dump(warehouse)
    random.seed(4)
    # the file's header, and the two of the database, of which one is current
    positions = [8, BLOCK + 8, 2 * BLOCK + 8, *(random.randrange(len(whole)) for _ in range(pick(5, 25)))]
    command = [sys.executable, "-m", "ridgeline", "verify", "-w", str(warehouse)]
    noticed = 0
    for position in positions:
        flipped = bytearray(whole)
        flipped[position] ^= 1 << random.randrange(8)
        warehouse.write_bytes(flipped)
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert (done.returncode, len(done.stderr.splitlines())) in [(0, 0), (1, 1)]
        noticed += done.returncode
        if not done.returncode:
            assert dump(warehouse) == before
    assert noticed >= pick(3, 7)


def test_every_table_has_digests_except_schema_version_and_digests(warehouse: Path) -> None:
    stored = {name for (name,) in query(warehouse, "SELECT table_name FROM duckdb_tables()")}
    assert stored == {*RUN_TABLES, *SHARED_TABLES, *KEPT_TABLES, "schema_version", "digests"}
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute(
            "UPDATE descriptions SET description = 'x' WHERE table_name = 'runs' AND column_name IS NULL"
        )
    assert findings(warehouse) == {"all runs": [f"descriptions: not what was stored ({rows_of(warehouse)} rows)"]}


def rows_of(warehouse: Path) -> int:
    ((count,),) = query(warehouse, "SELECT count(*) FROM descriptions")
    return int(count)


def test_damage_is_one_line(warehouse: Path) -> None:
    whole = warehouse.read_bytes()
    name = RUNS[1].name.encode()
    at = whole.rindex(name)
    warehouse.write_bytes(whole[:at] + b"T" + whole[at + 1 :])
    done = ridgeline("verify", "-w", warehouse)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "hecksum" in done.stderr


def test_forgotten_and_loaded_again_the_rows_are_the_same(warehouse: Path) -> None:
    before = dump(warehouse)
    (gone,) = forget(warehouse, ["tiny-llama"])
    assert gone.startswith(RUNS[1].name + " (")
    between = dump(warehouse)
    assert {table for table in before if before[table] != between[table]} >= {"runs", "kernels", "ledger", "digests"}
    assert not any(gone.partition("(")[2][:16] in row for rows in between.values() for row in rows)
    assert findings(warehouse) == {}
    assert [result.outcome for result in analyze(RUNS, warehouse)] == ["unchanged", "loaded"]
    assert dump(warehouse) == before


def test_forget_takes_all_or_none(warehouse: Path) -> None:
    before = dump(warehouse)
    done = ridgeline("forget", "-w", warehouse, "tiny-llada", "nothing")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("ridgeline: nothing: no such run, the nearest are ")
    done = ridgeline("forget", "-w", warehouse, "tiny-")
    assert (done.returncode, done.stderr.startswith("ridgeline: tiny-: fits 2 runs, ")) == (1, True)
    assert dump(warehouse) == before
    assert ridgeline("forget", "-w", warehouse).returncode == 2
    done = ridgeline("forget", "-w", warehouse, "tiny-llada", "tiny-llama")
    assert (done.returncode, [line.partition(" (")[0] for line in done.stderr.splitlines()]) == (
        0,
        [f"ridgeline: {run.name}" for run in RUNS],
    )
    assert dump(warehouse)["runs"] == []


def test_forget_makes_no_warehouse(tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match="no such warehouse"):
        forget(tmp_path / "none.duckdb", ["a"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not TRACES.is_dir(), reason="needs the shared traces")
def test_foreign_traces_verify(tmp_path: Path) -> None:
    results: list[Any] = analyze([TRACES], tmp_path / "w.duckdb")
    assert findings(tmp_path / "w.duckdb") == {}
    assert len(results) == len(verify(tmp_path / "w.duckdb")[0])


def test_checks_read_no_other_view_than_checked() -> None:
    words = {word for check in checks() for word in re.findall(r"\w+", re.sub(r"--.*", "", check))}
    assert set(CHECKED) == words & {name for name, _ in definitions()}
