-- Stretches of time that a timeline can show with every event: of each run the whole trace (step_id NULL), and around the
-- step of each kind whose wall time is nearest to the median ($steps, as run_id/step_id) its time on host and device.
-- clock_ns is the start by the clock of the host, in ns since 1970; NULL where the trace does not tell.
WITH events AS (
  SELECT
    run_id,
    MIN(LEAST(start_ns, COALESCE(launch_ns, start_ns))) AS from_ns, MAX(start_ns + duration_ns) AS to_ns, COUNT(*) AS events,
    0 AS operators, COUNT(DISTINCT (rank, device_index)) + COUNT(DISTINCT (rank, device_index, stream)) AS lanes
  FROM kernels
  WHERE list_contains($runs, run_id)
  GROUP BY run_id
  UNION ALL
  SELECT run_id, MIN(start_ns), MAX(start_ns + duration_ns), COUNT(*), COUNT(*), COUNT(DISTINCT (rank, thread))
  FROM operators
  WHERE list_contains($runs, run_id)
  GROUP BY run_id
  UNION ALL
  SELECT run_id, NULL, NULL, COUNT(*), 0, COUNT(DISTINCT rank)
  FROM steps
  WHERE list_contains($runs, run_id)
  GROUP BY run_id
  UNION ALL
  SELECT run_id, NULL, NULL, COUNT(*), 0, 0
  FROM gaps
  WHERE list_contains($runs, run_id)
  GROUP BY run_id
),
wholes AS (
  SELECT run_id, NULL AS step_id, MIN(from_ns) AS from_ns, MAX(to_ns) AS to_ns, CAST(SUM(events) AS BIGINT) AS events,
    CAST(SUM(operators) AS BIGINT) AS operators, CAST(SUM(lanes) AS BIGINT) AS lanes
  FROM events
  GROUP BY run_id
),
around AS (
  SELECT
    run_id, step_id,
    LEAST(start_ns, host_start_ns) AS from_ns, GREATEST(end_ns, host_start_ns + host_duration_ns) AS to_ns
  FROM steps
  WHERE list_contains($steps, run_id || '/' || step_id)
),
spans AS (
  SELECT run_id, start_ns, duration_ns FROM kernels
  UNION ALL
  SELECT run_id, start_ns, duration_ns FROM gaps
  UNION ALL
  SELECT run_id, start_ns, duration_ns FROM operators
),
counted AS (
  SELECT a.run_id, a.step_id, a.from_ns, a.to_ns, COUNT(e.run_id) AS events, NULL AS operators, NULL AS lanes
  FROM around a
  LEFT JOIN spans e
    ON e.run_id = a.run_id AND list_contains($runs, e.run_id) AND e.start_ns < a.to_ns AND e.start_ns + e.duration_ns > a.from_ns
  GROUP BY a.run_id, a.step_id, a.from_ns, a.to_ns
)
SELECT
  w.*,
  -- timestamps are ns since 1970 themselves, or since a base that the trace states
  CASE WHEN r.base_time_ns IS NOT NULL THEN r.base_time_ns + w.from_ns WHEN w.from_ns > 1000000000000000000 THEN w.from_ns END
    AS clock_ns
FROM (SELECT * FROM wholes UNION ALL SELECT * FROM counted) w
JOIN runs r ON r.run_id = w.run_id
WHERE w.from_ns IS NOT NULL
ORDER BY w.run_id, w.step_id NULLS FIRST
