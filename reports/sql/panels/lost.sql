$selection,
weighed AS (
  SELECT
    *,
    CASE
      WHEN diagnosis IS NOT NULL THEN SUM(lost_ns) OVER (PARTITION BY run_id, $item, phase, step_phase, kind, basis, diagnosis)
    END AS of_diagnosis
  FROM selection
),
items AS (
  SELECT
    run_id, $item AS item, phase, step_phase, kind,
    basis,
    SUM(launches) AS launches,
    SUM(duration_ns) AS duration_ns,
    SUM(lost_ns) AS lost_ns,
    FIRST(diagnosis ORDER BY of_diagnosis DESC NULLS LAST, diagnosis) AS cause
  FROM weighed
  GROUP BY run_id, $item, phase, step_phase, kind, basis
)
SELECT
  i.* EXCLUDE (step_phase),
  CASE
    WHEN d.bound = 'host' AND d.confidence = 'high' THEN 0 * i.lost_ns
    WHEN d.bound = 'device' THEN i.lost_ns / d.steps * LEAST(1, d.step_ns / NULLIF(d.device_time_ns, 0))
  END AS saved_ns,
  d.step_ns
FROM items i
LEFT JOIN step_diagnosis d
  ON d.run_id = i.run_id AND COALESCE(d.phase, '') = COALESCE(i.step_phase, '') AND COALESCE(d.kind, '') = COALESCE(i.kind, '')
ORDER BY i.lost_ns DESC NULLS LAST, i.duration_ns DESC
