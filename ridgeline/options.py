"""Arguments and options of the command line: their types, names and help texts."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Exit, Option

import ridgeline


def _print_version(requested: bool) -> None:
    if requested:
        print(f"ridgeline {ridgeline.__version__}")
        raise Exit


def _shipped(folder: str, suffix: str) -> Callable[[Path | None], Path | None]:
    """Return a callback that replaces the bare name of a file in ``folder``, its number aside, by its path."""

    def find(named: Path | None) -> Path | None:
        if named is None or named.exists():
            return named
        files = sorted((Path(__file__).parent / folder).glob(f"*{suffix}"))
        return next((file for file in files if str(named) in (file.stem, re.sub(r"^\d+_", "", file.stem))), named)

    return find


# Of no command, and of several

Version = Annotated[
    bool, Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True)
]

Warehouse = Annotated[Path, Option("-w", "--warehouse", help="The DuckDB file.", metavar="FILE")]
WarehouseOrLake = Annotated[
    Path | None, Option("-w", "--warehouse", help="The DuckDB file; ridgeline.duckdb by default.", metavar="FILE")
]
"""For commands that also take --lake; None unless the user named a file."""
Lake = Annotated[str | None, Option("--lake", help="A Parquet lake instead: a folder or a URL.", metavar="DIR")]
FormatOfText = Annotated[
    Literal["table", "csv", "json"], Option("--format", help="table, csv or json.", metavar="FORMAT")
]

# demo, capture and ceilings

DemoFolder = Annotated[Path, Option("--out", help="Folder for runs, warehouse and report.", metavar="DIR")]
Configuration = Annotated[
    Path,
    Argument(
        help="A TOML file that says what to run, or the bare name of a shipped one (modes-8b); lists make a sweep.",
        metavar="CONFIG",
        callback=_shipped("capture/configs", ".toml"),
    ),
]
RunsFolder = Annotated[Path, Option("--out", help="Folder for run directories.", metavar="RUNS")]
DryRun = Annotated[bool, Option("--dry-run", help="Print each point with its predicted memory and time; run nothing.")]
Counters = Annotated[
    Literal["auto", "cupti", "ncu", "off"],
    Option(help="auto, cupti, ncu (reads both and compares them) or off.", metavar="METHOD"),
]
CeilingsFile = Annotated[Path, Option("--out", help="File to write.", metavar="FILE")]

# analyze

TracePaths = Annotated[list[Path], Argument(help="Run directories, folders of them, or Kineto traces.", metavar="PATH")]
Jobs = Annotated[int, Option(help="Decoder processes; 0 for one per core.", min=0, metavar="N")]
Memory = Annotated[
    str | None, Option(help="Memory limit, such as 2GB; by default 60 % of this machine's.", metavar="SIZE")
]
Twin = Annotated[
    Path | None, Option(help="Eager trace of the same steps, for one PATH with graph replays.", metavar="TRACE")
]
Capture = Annotated[
    Path | None,
    Option(help="Trace of the graphs' capture, or a folder of such traces, for one PATH.", metavar="PATH"),
]
Step = Annotated[
    str | None,
    Option(
        help="Annotations that are steps: a regular expression whose named groups are phase, kind, step, query, ...",
        metavar="REGEX",
    ),
]
Hta = Annotated[bool, Option("--hta", help="Add HolisticTraceAnalysis' analyses, also to runs loaded before; slow.")]
Salvage = Annotated[bool, Option("--salvage", help="Load the events before the break of a truncated or damaged trace.")]

# sql

Query = Annotated[str | None, Argument(help="The statement.", metavar="QUERY")]
QueryFile = Annotated[
    Path | None,
    Option(
        "-f",
        "--file",
        help="Read the statement from a file, or from the cookbook by its bare name (slow_operators).",
        metavar="FILE",
        callback=_shipped("warehouse/cookbook", ".sql"),
    ),
]
FormatOfRows = Annotated[
    Literal["table", "csv", "json", "parquet"],
    Option("--format", help="table, csv, json or parquet.", metavar="FORMAT"),
]
RowsFile = Annotated[Path | None, Option("-o", "--out", help="Write to a file instead of stdout.", metavar="FILE")]

# report and compare

ReportFolder = Annotated[Path, Option("-o", "--out", help="Folder for the page.", metavar="DIR")]
ReportedRuns = Annotated[list[str] | None, Option(help="Only these runs: names, ids or prefixes.", metavar="NAME")]
OpenPage = Annotated[bool, Option("--open", help="Open the page in the browser.")]
Base = Annotated[
    str,
    Argument(
        help="A run, or several: A,B or a pattern 'A*' or experiment:NAME; or a path of traces.",
        metavar="BASE",
    ),
]
Other = Annotated[str, Argument(help="The run, runs or path to compare with BASE.", metavar="OTHER")]
FormatOfComparison = Annotated[
    Literal["table", "csv", "json", "markdown"],
    Option("--format", help="table, csv, json, or markdown for a pull request.", metavar="FORMAT"),
]
ComparisonFolder = Annotated[
    Path | None, Option("-o", "--out", help="Folder for the page compare.html.", metavar="DIR")
]
FailAbove = Annotated[
    float | None,
    Option(
        help="Exit 1 if a kind of step or a phase is slower by more than this and by more than noise.",
        min=0,
        metavar="PERCENT",
    ),
]

# theory

Model = Annotated[
    str, Option(help="A shape of capture/configuration/presets.toml, such as llama-3-8b.", metavar="NAME")
]
Mode = Annotated[str, Option(help="Decoding mode: ar, dlm_full, dlm_block_dual, ...", metavar="MODE")]
Prompt = Annotated[int, Option(help="Tokens of the prompt.", metavar="N")]
Generate = Annotated[int, Option(help="Tokens to generate.", metavar="N")]
Block = Annotated[int | None, Option(help="Tokens of a block; all by default.", metavar="G")]
Steps = Annotated[int | None, Option(help="Denoising steps over all blocks; one per token by default.", metavar="K")]
Batch = Annotated[int, Option(help="Sequences.", metavar="B")]
TheoryDevice = Annotated[
    str | None,
    Option(
        help="A device with a datasheet (A100, H200) or a ceilings.json; this machine's by default.", metavar="NAME"
    ),
]

# export and forget

LakeLocation = Annotated[str, Argument(help="A folder, or a URL of an object store.", metavar="LAKE")]
ForgottenRuns = Annotated[list[str], Argument(help="Names, ids, or unique prefixes of either.", metavar="RUN")]
