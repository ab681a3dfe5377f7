"""Arguments and options of the command line: their types, names, defaults and help texts."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click import Choice, FloatRange, IntRange, Option

DEFAULT_WAREHOUSE = Path("ridgeline.duckdb")


class Commands(click.Group):
    """Commands that the help lists in the order of a user's work."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


class Argument(click.Argument):
    """A positional argument with a help text; before click 8.5, the help lists it with the options."""

    def __init__(self, name: str, metavar: str, explanation: str, **attributes: Any) -> None:
        super().__init__([name], metavar=metavar, **attributes)
        self.help = explanation

    def get_help_record(self, ctx: click.Context) -> tuple[str, str]:
        return self.make_metavar(ctx), self.help or ""


def _shipped(folder: str, suffix: str) -> Callable[[click.Context, click.Parameter, Path | None], Path | None]:
    """Return a callback that replaces the bare name of a file in ``folder``, its number aside, by its path."""

    def find(context: click.Context, parameter: click.Parameter, named: Path | None) -> Path | None:
        if named is None or named.exists():
            return named
        files = sorted((Path(__file__).parent / folder).glob(f"*{suffix}"))
        return next((file for file in files if str(named) in (file.stem, re.sub(r"^\d+_", "", file.stem))), named)

    return find


def _number(context: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    """Refuse NaN, which is within every range and above no limit."""
    if value is not None and math.isnan(value):
        raise click.BadParameter("expected a number, found nan")
    return value


def _folder_name(context: click.Context, parameter: click.Parameter, name: str | None) -> str | None:
    """Refuse a name that is no name of a folder."""
    if name is not None and (name in ("", ".", "..") or os.sep in name or "\0" in name):
        raise click.BadParameter(f"expected the name of a folder, found {name!r}")
    return name


def _expression(context: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    """Refuse a regular expression that is none, or that matches every label."""
    try:
        pattern = re.compile(text or "step")
        if pattern.search(""):
            raise click.BadParameter(f"{text!r} matches empty text, so every label")
        if "module" in pattern.groupindex:
            raise click.BadParameter(f"{text!r}: a step has no group 'module'; expected phase, kind, query, ...")
    except re.error as e:
        raise click.BadParameter(f"{text!r}: {e}: expected a regular expression") from None
    return text


def _apply_rules(context: click.Context, parameter: click.Parameter, file: Path | None) -> None:
    """Name the file to this process and its children, in the variable that ``analyze/pricing/outside.py`` reads."""
    if file:
        os.environ["RIDGELINE_RULES"] = str(file.absolute())


# Of several commands

WAREHOUSE = Option(["-w", "--warehouse"], type=Path, default=DEFAULT_WAREHOUSE, help="The DuckDB file.", metavar="FILE")
WAREHOUSE_OR_LAKE = Option(
    ["-w", "--warehouse"], type=Path, help="The DuckDB file; ridgeline.duckdb by default.", metavar="FILE"
)
"""For commands that also take --lake; None unless the user named a file."""
LAKE = Option(["--lake"], help="A Parquet lake instead: a folder or a URL.", metavar="DIR")

# demo, capture, record and ceilings

DEMO_FOLDER = Option(
    ["--out"], type=Path, default=Path("demo"), help="Folder for runs, warehouse and report.", metavar="DIR"
)
CONFIGURATION = Argument(
    "config",
    "CONFIG",
    "A TOML file that says what to run, or the bare name of a shipped one (modes-8b); lists make a sweep.",
    type=Path,
    callback=_shipped("capture/configs", ".toml"),
)
RUNS_FOLDER = Option(["--out"], type=Path, default=Path("runs"), help="Folder for run directories.", metavar="RUNS")
DRY_RUN = Option(["--dry-run"], is_flag=True, help="Print each point with its predicted memory and time; run nothing.")
COUNTERS = Option(
    ["--counters"],
    type=Choice(["auto", "cupti", "ncu", "off"]),
    default="auto",
    help="auto, cupti, ncu (reads both and compares them) or off.",
    metavar="METHOD",
)
RECORDING_NAME = Option(
    ["--name"], callback=_folder_name, help="Name of the run directory; by default the program's.", metavar="NAME"
)
SWEEP_EXPERIMENT = Option(
    ["--experiment"], help="Label of these runs; by default the configuration's own, else its name.", metavar="NAME"
)
EXPERIMENT = Option(["--experiment"], default="default", help="Label of a group of runs.", metavar="NAME")
WARM_UP_STEPS = Option(["--warmup"], type=IntRange(min=0), default=3, help="Warm-up steps.", metavar="N")
TIMED_STEPS = Option(["--timed"], type=IntRange(min=0), default=16, help="Steps timed, at least.", metavar="N")
TRACED_STEPS = Option(["--traced"], type=IntRange(min=1), help="Steps traced; 8 by default.", metavar="N")
RECORDED_STEP = Option(
    ["--step"],
    callback=_expression,
    help="What a step is instead: a module's class or qualified name, or a record_function label; a regular expression "
    "whose named groups are phase, kind, query, context, tokens, ...",
    metavar="MODULE|REGEX",
)
RECORDING_COUNTERS = Option(
    ["--counters"], type=Choice(["auto", "cupti", "off"]), default="auto", help="auto, cupti or off.", metavar="METHOD"
)
ALLOCATIONS = Option(["--memory"], is_flag=True, help="Record allocations.")
PROGRAM = Argument(
    "program",
    "-- PROGRAM ARGS...",
    "A command, or a .py file, which runs with this Python.",
    nargs=-1,
    type=click.UNPROCESSED,
)
LINKS = Option(["--links"], is_flag=True, help="Measure the links to the host and to other devices too.")
CEILINGS_FILE = Option(["--out"], type=Path, default=Path("ceilings.json"), help="File to write.", metavar="FILE")

# record --url; capture/engines/README.md

URL = Option(["--url"], help="A running vLLM or SGLang server: record it by its own profiler.", metavar="URL")
SECONDS = Option(["--seconds"], type=FloatRange(min=0), callback=_number, help="With --url: how long.", metavar="S")
ENGINE_TRACES = Option(
    ["--traces"],
    type=Path,
    help="With --url: the folder of the engine's traces, as seen from this machine.",
    metavar="DIR",
)

# analyze

TRACE_PATHS = Argument(
    "paths", "PATH...", "Run directories, folders of them, or Kineto traces.", type=Path, nargs=-1, required=True
)
JOBS = Option(["--jobs"], type=IntRange(min=0), default=0, help="Decoder processes; 0 for one per core.", metavar="N")
MEMORY = Option(["--memory"], help="Memory limit, such as 2GB; by default 60 % of this machine's.", metavar="SIZE")
TWIN = Option(
    ["--twin"], type=Path, help="Eager trace of the same steps, for one PATH with graph replays.", metavar="TRACE"
)
CAPTURE = Option(
    ["--capture"],
    type=Path,
    help="Trace of the graphs' capture, or a folder of such traces, for one PATH.",
    metavar="PATH",
)
STEP = Option(
    ["--step"],
    help="Annotations that are steps: a regular expression whose named groups are phase, kind, step, query, ...",
    metavar="REGEX",
)
DEVICE = Option(
    ["--device"], help="The device's datasheet, where its name fits none: A100, 'RTX 5090', MI300X.", metavar="NAME"
)
LOADED_ALLOCATIONS = Option(
    ["--allocations"], is_flag=True, help="Load the changes of memory that profile_memory=True recorded."
)
ANALYZED_EXPERIMENT = Option(
    ["--experiment"], help="Label of these runs; by default that in their run.json, if they have one.", metavar="NAME"
)
HTA = Option(["--hta"], is_flag=True, help="Add HolisticTraceAnalysis' analyses, also to runs loaded before; slow.")
SALVAGE = Option(["--salvage"], is_flag=True, help="Load the events before the break of a truncated or damaged trace.")


RULES = Option(
    ["--rules"],
    type=Path,
    callback=_apply_rules,
    expose_value=False,
    help="A Python file of pricing rules, as RIDGELINE_RULES names one.",
    metavar="FILE",
)

# sql

QUERY = Argument("query", "[QUERY]", "The statement.", required=False)
QUERY_FILE = Option(
    ["-f", "--file"],
    type=Path,
    help="Read the statement from a file, or from the cookbook by its bare name (slow_operators).",
    metavar="FILE",
    callback=_shipped("warehouse/cookbook", ".sql"),
)
ROWS_FILE = Option(["-o", "--out"], type=Path, help="Write to a file instead of stdout.", metavar="FILE")

# report and compare

REPORT_FOLDER = Option(["-o", "--out"], type=Path, default=Path("report"), help="Folder for the page.", metavar="DIR")
REPORTED_RUNS = Option(
    ["--run"],
    multiple=True,
    help="Only these runs: names, ids, prefixes, patterns ('tiny*') or experiment:NAME.",
    metavar="NAME",
)
OPEN_PAGE = Option(["--open", "open_page"], is_flag=True, help="Open the page in the browser.")
BASE = Argument("base", "BASE", "A run, or several: A,B or a pattern 'A*' or experiment:NAME; or a path of traces.")
OTHER = Argument("other", "OTHER", "The run, runs or path to compare with BASE.")
COMPARISON_FOLDER = Option(["-o", "--out"], type=Path, help="Folder for the page compare.html.", metavar="DIR")
FAIL_ABOVE = Option(
    ["--fail-above"],
    type=FloatRange(min=0),
    callback=_number,
    help="Exit 1 if a kind of step or a phase is slower by more than this and by more than noise.",
    metavar="PERCENT",
)

# theory

MODEL = Option(
    ["--model"],
    required=True,
    help="A shape of capture/configuration/presets.toml, such as llama-3-8b, or a Hugging Face directory.",
    metavar="NAME",
)
MODE = Option(["--mode"], required=True, help="Decoding mode: ar, dlm_full, dlm_block_dual, ...", metavar="MODE")
PROMPT = Option(["--prompt"], type=int, required=True, help="Tokens of the prompt.", metavar="N")
GENERATE = Option(["--generate"], type=int, required=True, help="Tokens to generate.", metavar="N")
BLOCK = Option(["--block"], type=int, help="Tokens of a block; all by default.", metavar="G")
STEPS = Option(["--steps"], type=int, help="Denoising steps over all blocks; one per token by default.", metavar="K")
BATCH = Option(["--batch"], type=int, default=1, help="Sequences.", metavar="B")
THEORY_DEVICE = Option(
    ["--device"],
    help="A device with a datasheet (A100, H200) or a ceilings.json; this machine's by default.",
    metavar="NAME",
)

# export and forget

LAKE_LOCATION = Argument("lake", "LAKE", "A folder, or a URL of an object store.")
FORGOTTEN_RUNS = Argument(
    "runs",
    "RUN...",
    "Names, ids, unique prefixes of either, patterns ('tiny*') or experiment:NAME.",
    nargs=-1,
    required=True,
)


def output_format(*names: str, explanation: str | None = None) -> Option:
    """Return ``--format``, whose default is the first name."""
    explanation = explanation or f"{', '.join(names[:-1])} or {names[-1]}."
    return Option(
        ["--format", "output_format"], type=Choice(names), default=names[0], help=explanation, metavar="FORMAT"
    )
