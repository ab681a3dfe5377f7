"""The exceptions that capture raises on purpose. The text of each is one sentence for the user.

- CaptureError: capture refuses a request or fails at it.
  - ConfigError: a configuration has an unknown key, a wrong type or an impossible combination.
  - CheckpointError: a checkpoint directory does not hold the weights of the configured model.
  - DeviceError: the requested device is missing or lacks a feature.
"""

from ridgeline.errors import RidgelineError


class CaptureError(RidgelineError):
    """Capture refuses a request or fails at it."""


class ConfigError(CaptureError):
    """A configuration has an unknown key, a wrong type or an impossible combination."""

    exit_code = 2


class CheckpointError(CaptureError):
    """A checkpoint directory does not hold the weights of the configured model."""


class DeviceError(CaptureError):
    """The requested device is missing or lacks a feature."""
