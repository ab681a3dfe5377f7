"""What our whole ingest takes with everything imported, as ``hta_load.py`` times HTA: prints JSON on the last line."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


def main() -> None:
    start = time.perf_counter()
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    import ridgeline.analyze.run
    import ridgeline.warehouse.load  # noqa: F401
    from ridgeline.analyze.ingest import analyze as ingest

    imported = time.perf_counter()
    trace, target = Path(sys.argv[1]), Path(sys.argv[2])
    (result,) = ingest([trace], target, jobs=int(sys.argv[3]))
    if result.outcome != "loaded":
        sys.exit(f"{trace.name}: {result.outcome}: {result.error}")
    print(json.dumps({"imports_s": imported - start, "load_s": time.perf_counter() - imported}))


if __name__ == "__main__":
    main()
