-- Runs that were timed while another sweep was under way, and while another run was being timed, on the same shared hosts.
WITH runs_of AS (
  SELECT t.run_id, ANY_VALUE(s.value) AS sweep, MIN(t.time_ns) AS start_ns, MAX(t.time_ns) AS end_ns
  FROM telemetry t
  JOIN ceilings s ON s.run_id = t.run_id AND s.source = 'measured' AND s.unit = 'tensor' AND s.precision = 'bf16'
  GROUP BY t.run_id
),
sweeps AS (
  SELECT sweep, MIN(start_ns) AS start_ns, MAX(end_ns) AS end_ns
  FROM runs_of
  GROUP BY sweep
)
SELECT COUNT(*) AS runs,
  COUNT(*) FILTER (EXISTS (SELECT 1 FROM sweeps s WHERE s.sweep <> r.sweep AND s.start_ns <= r.end_ns AND s.end_ns >= r.start_ns)) AS beside_a_sweep,
  COUNT(*) FILTER (EXISTS (SELECT 1 FROM runs_of q WHERE q.sweep <> r.sweep AND q.start_ns <= r.end_ns AND q.end_ns >= r.start_ns)) AS beside_a_timed_run
FROM runs_of r
