-- A naive step over the mean step of the dual cache (a block of 32: one refresh, 31 reuse steps), batch 1, by the positions
-- attended to. outside_kernels_percent is the part of the naive step beyond its traced kernels: where it is small, an eager naive
-- step is as good as a replayed one. one_sweep says whether both were captured in the same sweep.
WITH steps AS (
  SELECT c.run_id, c.experiment, s.value AS sweep, c.execution, c.mode, c.kind, c.length, c.step_ns, c.low_ns, c.high_ns, c.floor_ns, t.busy_ns
  FROM step_costs c
  JOIN ceilings s ON s.run_id = c.run_id AND s.source = 'measured' AND s.unit = 'tensor' AND s.precision = 'bf16'
  JOIN generations g ON g.run_id = c.run_id
  LEFT JOIN generation_steps t ON t.run_id = c.run_id AND t.kind = c.kind
  WHERE c.batch = 1 AND c.length > 1000 AND c.mode IN ('dlm_full', 'dlm_block_dual') AND c.step_ns IS NOT NULL
    AND (c.experiment IN ('e6-throughput', 'e9-lengths') OR (c.experiment = 'modes-8b' AND c.generated_tokens = 128 AND c.execution <> 'eager')
      OR (c.experiment = 'e7-steps' AND (g.steps = 8 AND c.mode = 'dlm_full' OR g.steps = 64)))
),
blocks AS (
  SELECT r.experiment, r.sweep, r.execution, r.length, (31 * r.step_ns + f.step_ns) / 32 AS step_ns, (31 * r.low_ns + f.low_ns) / 32 AS low_ns,
    (31 * r.high_ns + f.high_ns) / 32 AS high_ns, (31 * r.floor_ns + f.floor_ns) / 32 AS floor_ns
  FROM steps r
  JOIN steps f ON f.run_id = r.run_id AND f.kind = 'refresh'
  WHERE r.kind = 'reuse'
)
SELECT n.experiment, CAST(n.length AS INTEGER) AS length, n.execution AS naive, b.execution AS blocks, ROUND(n.step_ns / 1e6, 1) AS naive_ms,
  ROUND(b.step_ns / 1e6, 2) AS block_ms, ROUND(n.step_ns / b.step_ns, 1) AS naive_over_block, ROUND(n.low_ns / b.high_ns, 1) AS least,
  ROUND(n.high_ns / b.low_ns, 1) AS most, ROUND(n.floor_ns / b.floor_ns, 1) AS at_roofs,
  CAST(GREATEST(0, 100 * (1 - n.busy_ns / n.step_ns)) AS INTEGER) AS outside_kernels_percent, CASE WHEN n.sweep = b.sweep THEN 'yes' ELSE 'no' END AS one_sweep
FROM steps n
JOIN blocks b ON b.experiment = n.experiment AND ABS(b.length - n.length) < 130 AND (n.execution = b.execution OR n.experiment <> 'modes-8b')
WHERE n.mode = 'dlm_full'
ORDER BY n.length, n.experiment, n.execution
