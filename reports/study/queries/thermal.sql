-- Temperature at the start of timing, in degrees Celsius, and how long timed windows lasted, in seconds: the range over all runs.
WITH runs_of AS (
  SELECT run_id, ARG_MIN(temperature_c, time_ns) AS start_c
  FROM telemetry
  GROUP BY run_id
)
SELECT CAST(MIN(start_c) AS INTEGER) AS coldest_c, CAST(MAX(start_c) AS INTEGER) AS warmest_c, ROUND(MIN(g.latency_ns) / 1e9, 2) AS shortest_s,
  COUNT(*) FILTER (g.latency_ns < 3e8) AS runs_under_300_ms, COUNT(*) AS runs
FROM runs_of r
JOIN generations g ON g.run_id = r.run_id
WHERE g.latency_ns IS NOT NULL
