-- Which mode generates fastest?
-- Throughput, step latency and utilization of every captured run, without the profiler.
SELECT
  name, mode, execution, batch, tokens_per_s, step_ns / 1e3 AS step_us, mfu, mbu, busy_share,
  peak_memory_bytes / 1e9 AS peak_gb
FROM mode_summary
WHERE mode IS NOT NULL
ORDER BY tokens_per_s DESC;
