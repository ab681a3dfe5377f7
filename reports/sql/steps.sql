-- For every kind of step, the step whose wall time is nearest to the median of its kind.
WITH lengths AS (
  SELECT
    run_id, step_id, phase, kind, step, start_ns, end_ns, busy_ns,
    end_ns - start_ns AS wall_ns,
    MEDIAN(end_ns - start_ns) OVER (PARTITION BY run_id, phase, kind) AS median_ns,
    COUNT(*) OVER (PARTITION BY run_id, phase, kind) AS steps
  FROM steps
  WHERE list_contains($runs, run_id) AND start_ns IS NOT NULL
),
ranked AS (
  SELECT
    *,
    ROW_NUMBER() OVER (PARTITION BY run_id, phase, kind ORDER BY ABS(wall_ns - median_ns), step_id) AS place
  FROM lengths
),
counted AS (
  SELECT run_id, step_id, COUNT(*) AS kernels
  FROM kernels
  WHERE list_contains($runs, run_id) AND step_id IS NOT NULL
  GROUP BY run_id, step_id
)
SELECT r.run_id, r.step_id, r.phase, r.kind, r.step, r.steps, r.wall_ns, r.busy_ns, c.kernels
FROM ranked r
JOIN counted c ON c.run_id = r.run_id AND c.step_id = r.step_id
WHERE r.place = 1
ORDER BY r.run_id, r.phase, r.kind
