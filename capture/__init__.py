"""Record what a device does while a language model decodes: traces, timings, telemetry and ceilings.

The public names live in `capture.sweep` (`load`, `describe`, `run`) and `capture.ceilings` (`measure`, `write`); errors
in `capture.errors`. Importing this package, `capture.config` or `capture.sweep` does not import torch: only running a
sweep or measuring ceilings does.
"""
