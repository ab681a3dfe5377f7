"""The exception that reports raise."""

from ridgeline.errors import RidgelineError


class ReportError(RidgelineError):
    """A page, figure or comparison cannot be made; the message says what was found and what to do next."""
