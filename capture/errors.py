"""What capture raises on purpose.

- CaptureError: anything capture refuses or fails at; its text is one sentence meant for the user.
  - ConfigError: a configuration is wrong: unknown key, wrong type or impossible combination.
  - CheckpointError: a checkpoint directory does not hold the weights of the model named beside it.
  - DeviceError: the device asked for is not there.
"""


class CaptureError(Exception):
    """Anything capture refuses or fails at, in one sentence meant for the user."""


class ConfigError(CaptureError):
    """A configuration is wrong: unknown key, wrong type or impossible combination."""


class CheckpointError(CaptureError):
    """A checkpoint directory does not hold the weights of the model named beside it."""


class DeviceError(CaptureError):
    """The device asked for is not there."""
