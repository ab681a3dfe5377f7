-- Times without the profiler, every repeat.
SELECT run_id, metric, phase, kind, step, "repeat", value_ns
FROM timings
WHERE list_contains($runs, run_id)
ORDER BY run_id, metric, phase, kind, "repeat", step, value_ns
