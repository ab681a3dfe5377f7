"""The base of the exceptions that Ridgeline raises on purpose; each message is one line for the user.

- RidgelineError
  - CaptureError: capture refuses a request or fails at it; a wrong configuration is a ConfigError
  - AnalyzeError: a trace (TraceError) or a file beside it (CompanionError) cannot be used
  - WarehouseError: a warehouse or lake cannot be used; StorageError: it cannot be written; QueryError: a query fails;
    SelectionError: a named run does not exist
  - ReportError: a page, figure or comparison cannot be made
"""

from __future__ import annotations


class RidgelineError(Exception):
    """A command cannot do its work. Its message says what was found, what was expected, and what to do next."""

    exit_code = 1
    """The exit code of a command that this exception ends; 2 for a wrong call."""


EXTRAS = {
    "torch": "capture",
    "transformers": "capture",
    "pynvml": "capture",
    "hta": "hta",
    "pandas": "hta",
    "yaml": "hta",
    "pyspark": "spark",
    "sqlglot": "spark",
}
"""The extra of pyproject.toml that installs a library, by the name under which Python imports it."""


def needed(error: ImportError) -> str:
    """Return the library that cannot be imported and the command that installs it.

    >>> needed(ModuleNotFoundError("No module named 'torch'", name="torch"))
    "needs torch: pip install 'ridgeline[capture]'"
    """
    library = (error.name or "a library").partition(".")[0]
    # a library that is installed and fails to import says why: a shared object is missing, or it is too old
    is_absent = str(error) == f"No module named {library!r}"
    reason = "" if is_absent else f", which cannot be imported ({error})"
    package = f"'ridgeline[{EXTRAS[library]}]'" if library in EXTRAS else library
    return f"needs {library}{reason}: pip install {package}"
