-- What each remedy takes from a reuse step of the dual cache, one after the other from the published code's step down to the roof:
-- the savings sum to the whole. one_sweep says whether a row and the one above it come from the same sweep. The last rows
-- are what the compiled step still loses, from its own profile.
WITH compiled AS (
  SELECT l.item, SUM(l.lost_ns) / ANY_VALUE(t.traced_steps) AS lost_ns, SUM(l.roof_ns) / ANY_VALUE(t.traced_steps) AS roof_ns
  FROM deviations l
  JOIN generation_steps t ON t.run_id = l.run_id AND t.kind = l.kind
  JOIN generations g ON g.run_id = l.run_id
  WHERE l.level = 'family' AND l.kind = 'reuse' AND g.experiment = 'modes-8b' AND g.mode = 'dlm_block_dual' AND g.execution = 'compile'
  GROUP BY l.item
),
steps AS (
  SELECT c.options, c.execution, c.generated_tokens, c.step_ns, s.value AS sweep
  FROM step_costs c
  JOIN ceilings s ON s.run_id = c.run_id AND s.source = 'measured' AND s.unit = 'tensor' AND s.precision = 'bf16'
  WHERE c.experiment = 'modes-8b' AND c.mode = 'dlm_block_dual' AND c.kind = 'reuse'
),
chain AS (
  SELECT 1 AS place, 'published code, emulated, eager' AS remedy, step_ns AS after_ns, sweep FROM steps WHERE options = 'faithful'
  UNION ALL SELECT 2, 'no waiting for the device inside a step', step_ns, sweep FROM steps WHERE options = 'unrotated'
  UNION ALL SELECT 3, 'keys cached after rotation', step_ns, sweep FROM steps WHERE options = '' AND generated_tokens = 32
  UNION ALL SELECT 4, 'steps replayed from CUDA graphs', step_ns, sweep FROM steps WHERE execution = 'cuda_graph'
  UNION ALL SELECT 5, 'whole step compiled, projections joined', step_ns, sweep FROM steps WHERE execution = 'compile'
  UNION ALL
  SELECT 6, 'products at their roofs', step_ns - (SELECT SUM(lost_ns) FROM compiled WHERE item = 'matmul'), sweep FROM steps WHERE execution = 'compile'
  UNION ALL
  SELECT 7, 'attention at its roof', step_ns - (SELECT SUM(lost_ns) FROM compiled WHERE item IN ('matmul', 'attention')), sweep
  FROM steps WHERE execution = 'compile'
  UNION ALL
  SELECT 8, 'all else: other kernels, less what the profiler adds', (SELECT SUM(roof_ns) FROM compiled), sweep FROM steps WHERE execution = 'compile'
)
SELECT remedy, ROUND(after_ns / 1e6, 2) AS step_ms, ROUND((LAG(after_ns) OVER (ORDER BY place) - after_ns) / 1e6, 2) AS saved_ms,
  CASE WHEN sweep = LAG(sweep) OVER (ORDER BY place) THEN 'yes' WHEN place > 1 THEN 'no' END AS one_sweep
FROM chain
ORDER BY place
