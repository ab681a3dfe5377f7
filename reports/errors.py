"""What can go wrong with a report."""

from __future__ import annotations


class ReportError(Exception):
    """The report cannot be written as asked; the message says what was found and what to do."""
