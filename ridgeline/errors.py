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
