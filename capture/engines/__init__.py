"""Record serving engines through their own profilers: `record` a running server, `profiled` an engine in Python.

Imports no torch.
"""

from ridgeline.capture.engines.offline import profiled
from ridgeline.capture.engines.recording import Recorded, record

__all__ = ["Recorded", "profiled", "record"]
