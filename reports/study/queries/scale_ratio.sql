-- Naive over blocks of 32 for the 34B and 70B shapes, from scale.sql's whole steps: a step, and a generation with its refreshes. unfused_ms is
-- what kernels other than products and attention take in a layer, minutes_apart the time between the sweeps of 4 and of 8 layers.
WITH steps AS (
  SELECT model, CASE model WHEN 'llama-34b' THEN 48 ELSE 80 END AS layers, kind, MAX(step_ns) FILTER (options = 'layers8') AS eight, MAX(step_ns) FILTER (options = 'layers4') AS four
  FROM step_costs
  WHERE experiment = 'scale'
  GROUP BY model, kind
),
whole AS (
  SELECT model, kind, eight + (layers - 8) * (eight - four) / 4 AS ns
  FROM steps
),
unfused AS (
  SELECT g.model, g.options, SUM(k.duration_ns) / 1e6 / COUNT(DISTINCT k.step) AS ms
  FROM kernel_roofline k
  JOIN generations g ON g.run_id = k.run_id
  WHERE g.experiment = 'scale' AND g.mode = 'dlm_block_dual' AND k.kind = 'reuse' AND k.family NOT IN ('matmul', 'attention')
  GROUP BY g.model, g.options
)
SELECT w.model, ROUND(MAX(w.ns) FILTER (w.kind = 'denoise') / MAX(w.ns) FILTER (w.kind = 'reuse'), 2) AS step,
  ROUND(32 * MAX(w.ns) FILTER (w.kind = 'denoise') / (31 * MAX(w.ns) FILTER (w.kind = 'reuse') + MAX(w.ns) FILTER (w.kind = 'refresh')), 2) AS generation,
  (SELECT ROUND((MAX(ms) FILTER (options = 'layers8') - MAX(ms) FILTER (options = 'layers4')) / 4, 3) FROM unfused u WHERE u.model = w.model) AS unfused_ms_a_layer,
  (SELECT CAST(ABS(MIN(t.time_ns) FILTER (g.options = 'layers8') - MIN(t.time_ns) FILTER (g.options = 'layers4')) / 6e10 AS INTEGER)
    FROM telemetry t JOIN generations g ON g.run_id = t.run_id WHERE g.experiment = 'scale' AND g.model = w.model) AS minutes_apart
FROM whole w
GROUP BY w.model
ORDER BY w.model
