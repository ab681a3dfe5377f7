"""Record what a device does while a language model decodes: traces, timings, telemetry and ceilings.

The public names live in `ridgeline.capture.sweep.sweep` (`load`, `describe`, `run`) and
`ridgeline.capture.ceilings.measure` (`measure`, `write`); errors in `ridgeline.capture.errors`. Importing this package,
`ridgeline.capture.configuration.points` or `ridgeline.capture.sweep.sweep` does not import torch: only running a sweep
or measuring ceilings does.
"""
