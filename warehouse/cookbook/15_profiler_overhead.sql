-- What does the profiler add?
-- A kind of step with it and without; of replayed steps also what is left when each node's share is taken off.
SELECT
  r.name, o.kind, o.wall_ns / 1e3 AS profiled_us, o.unprofiled_ns / 1e3 AS unprofiled_us,
  o.profiler_overhead_ns / 1e3 AS overhead_us, o.expected_error
FROM overhead o
JOIN runs r ON r.run_id = o.run_id
ORDER BY r.name, o.kind;
