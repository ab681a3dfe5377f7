"""What can go wrong between a trace file and the warehouse."""

from __future__ import annotations


class AnalyzeError(Exception):
    """A trace or one of its companions cannot be used; the message says what was found and what to do."""


class TraceError(AnalyzeError):
    """The file is not a readable Kineto trace."""


class CompanionError(AnalyzeError):
    """A file beside a trace (run.json, ceilings.json, ...) is not in its documented form."""
