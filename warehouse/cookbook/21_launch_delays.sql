-- How long do kernels wait after their launch?
-- Percentiles by kind of step. Long waits mean that the device is behind, short ones that the host is.
SELECT
  r.name, l.kind, l.kernels, l.queue_p50_ns / 1e3 AS p50_us, l.queue_p90_ns / 1e3 AS p90_us,
  l.queue_p99_ns / 1e3 AS p99_us
FROM launch_summary l
JOIN runs r ON r.run_id = l.run_id
ORDER BY r.name, l.kind;
