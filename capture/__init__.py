"""Record what a device does while a program runs: traces, timings, telemetry, counters and ceilings.

The public functions are `record` in `ridgeline.capture.recording` (also `ridgeline.record`), `load`, `describe` and
`run` in `ridgeline.capture.sweep.sweep` for points of a sweep, and `measure` and `write` in
`ridgeline.capture.ceilings.measure`. `ridgeline.capture.errors` holds the exceptions. Importing these modules does not
import torch; running a sweep or measuring ceilings does. `capture/README.md` describes the files that capture writes.
"""
