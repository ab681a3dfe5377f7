"""What HTA's load alone takes, timed inside its own process: prints JSON on the last line."""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from pathlib import Path


def main() -> None:
    warnings.simplefilter("ignore")
    start = time.perf_counter()
    from hta.trace_analysis import TraceAnalysis

    imported = time.perf_counter()
    logging.disable(logging.CRITICAL)
    trace = Path(sys.argv[1]).resolve()
    analysis = TraceAnalysis(trace_files={0: str(trace)}, trace_dir=str(trace.parent))
    loaded = time.perf_counter()
    # HTA may log an error and go on with an empty table
    rows = len(analysis.t.get_trace(0))
    if not rows:
        sys.exit("no event is loaded")
    print(json.dumps({"imports_s": imported - start, "load_s": loaded - imported, "rows": rows}))


if __name__ == "__main__":
    main()
