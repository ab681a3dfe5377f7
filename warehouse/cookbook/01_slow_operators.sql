-- Which operators are slow?
-- Operators by device time. share is of the run's device time; lost_ms is time beyond the roof, where roof and price
-- are certain. guessed_ms and communication_ms are the time that it leaves out.
SELECT
  r.name, o.operator, o.family, o.phase, o.kernels, o.duration_ns / 1e6 AS duration_ms, o.share,
  o.lost_ns / 1e6 AS lost_ms, o.guessed_ns / 1e6 AS guessed_ms, o.communication_ns / 1e6 AS communication_ms
FROM operator_summary o
JOIN runs r ON r.run_id = o.run_id
ORDER BY o.duration_ns DESC
LIMIT 20;
