"""Hardware counters of every kernel, read in the process that runs them by CUPTI's range profiler, through ctypes."""
