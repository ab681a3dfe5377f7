-- What does the profiler add?
-- Time of a kind of step with the profiler and without. For replayed steps expected_error is the difference that
-- remains after each node's share is subtracted.
SELECT
  r.name, o.kind, o.wall_ns / 1e3 AS profiled_us, o.unprofiled_ns / 1e3 AS unprofiled_us,
  o.profiler_overhead_ns / 1e3 AS overhead_us, o.expected_error
FROM overhead o
JOIN runs r ON r.run_id = o.run_id
ORDER BY r.name, o.kind;
