"""The exception that reports raise."""

from __future__ import annotations


class ReportError(Exception):
    """A page, figure or comparison cannot be made; the message says what was found and what to do next."""
