"""Write the explorer: ``report.html``, one file that needs no network."""

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import ridgeline
from ridgeline.reports import html
from ridgeline.reports.embedding import pack
from ridgeline.reports.explorer import run_table
from ridgeline.reports.explorer.data import Gathered, document, gather, sections
from ridgeline.reports.figures.machine import Machine, device_name
from ridgeline.reports.formatting import duration
from ridgeline.reports.queries import Row, by_column
from ridgeline.reports.study import page as study_page
from ridgeline.warehouse.selection import resolve

# In the order in which they are concatenated: each uses only names of the scripts before it when it is first run.
SCRIPTS = (
    "shared/format",
    "shared/hues",
    "shared/terms",
    "shared/access",
    "explorer/columns",
    "explorer/state",
    "explorer/address",
    "explorer/points",
    "explorer/sql",
    "shared/theme",
    "shared/roofline",
    "explorer/tooltip",
    "explorer/roofs",
    "explorer/roofline",
    "explorer/table",
    "explorer/bars",
    "explorer/lost",
    "explorer/icicle",
    "explorer/timeline_lanes",
    "explorer/timeline_drawing",
    "explorer/timeline",
    "explorer/timeline_pointer",
    "explorer/words",
    "explorer/verdict",
    "explorer/bytes",
    "explorer/telemetry",
    "explorer/ledger",
    "explorer/runs",
    "explorer/export",
    "explorer/controls",
    "explorer/main",
)


def write(
    warehouse: str | Path,
    out: str | Path,
    runs: Sequence[str] = (),
    *,
    lake: str | Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Path:
    """Write ``<out>/report.html`` about ``runs`` (names, ids or unique prefixes; all if empty) and return its path.

    If the runs make figures of the study, ``study.html`` is written beside it. With a ``lake``, runs are read from it
    and ``warehouse`` is ignored. ``progress`` is called with the name of each stage of the work.

    Raises :class:`~ridgeline.warehouse.errors.SelectionError` for a run that is unknown or ambiguous, and
    :class:`~ridgeline.warehouse.errors.WarehouseError` for a warehouse or a lake that cannot be read.
    """
    from ridgeline.warehouse import connect

    progress("reading")
    if lake is None:
        connection = connect(warehouse, read_only=True)
    else:
        from ridgeline.warehouse.lake.reading import load_lake  # imports fsspec, which opens sockets

        connection = load_lake(lake)
    with closing(connection):
        run_ids = resolve(connection, runs)
        html.plotly()
        progress("every kernel")
        source = Path(warehouse if lake is None else lake).name
        page = html.write(Path(out) / "report.html", render(gather(connection, run_ids), source))
        progress("the study")
        study_page.write(connection, out, run_ids)
    return page


def render(gathered: Gathered, source: str = "") -> str:
    """Return the page of the gathered data. Pictures saved from it name its ``source``, a warehouse or a lake."""
    runs = gathered.rows["runs"]
    return html.render(
        "explorer/page.html",
        pack(document(gathered) | {"made": {"version": ridgeline.__version__, "source": source}}),
        styles=["shared/page"],
        scripts=SCRIPTS,
        sections={name: pack(columns) for name, columns in sections(gathered).items()},
        table=run_table.table(runs),
        devices=list(dict.fromkeys(map(device_name, runs))),
        ceilings=_ceilings_by_device(gathered.rows),
    )


def _ceilings_by_device(rows: dict[str, list[Row]]) -> list[tuple[str, list[Row]]]:
    """Return for each device the rows of its table of ceilings: rate, source, method and date of every roof."""
    device_of = {run["run_id"]: device_name(run) for run in rows["runs"]}
    placed = (row | {"device": device_of[row["run_id"]]} for row in rows["ceilings"])
    listed = []
    for device, ceilings in by_column(placed, "device").items():
        # Runs of one device repeat its ceilings; Machine keeps one of each kind and source.
        own: list[Row] = [
            {"what": r.what, "rate": r.rate, "source": r.source, "method": r.method, "measured_on": r.measured_on}
            for r in Machine.of(device, ceilings).roofs
            if r.resource in ("compute", "bandwidth")
        ]
        shortest = next((row for row in ceilings if row["resource"] == "latency"), None)
        if shortest:
            own.append({**shortest, "what": "shortest kernel", "rate": duration(shortest["value"] * 1e9)})
        listed.append((device, own))
    return listed
