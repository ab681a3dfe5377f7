-- A step in ms: its kernels at their roofs, what products, attention and all other kernels take beyond theirs, and the rest of the
-- unprofiled step: the host. The parts sum to step_ms. Kernels are of the profiled run: where its clocks were lower than those of
-- the unprofiled one, or the profiler added to its kernels, the host's part is too small, and may be negative.
WITH lost AS (
  SELECT run_id, kind, SUM(roof_ns) AS roof_ns, SUM(duration_ns) AS duration_ns, SUM(lost_ns) FILTER (item = 'matmul') AS products_ns,
    SUM(lost_ns) FILTER (item = 'attention') AS attention_ns
  FROM deviations
  WHERE level = 'family'
  GROUP BY run_id, kind
),
steps AS (
  SELECT c.mode, c.kind, c.execution, c.step_ns, c.low_ns, c.high_ns, l.roof_ns / t.traced_steps AS roof_ns, l.products_ns / t.traced_steps AS products_ns,
    l.attention_ns / t.traced_steps AS attention_ns, l.duration_ns / t.traced_steps AS kernels_ns
  FROM step_costs c
  JOIN generation_steps t ON t.run_id = c.run_id AND t.kind = c.kind
  JOIN lost l ON l.run_id = c.run_id AND l.kind = c.kind
  WHERE c.experiment = 'modes-8b' AND c.generated_tokens = 128
    AND (c.mode, c.kind) IN (('ar', 'decode'), ('dlm_block_dual', 'reuse'), ('dlm_block_dual', 'refresh'), ('dlm_full', 'denoise'))
)
SELECT mode, kind, execution, ROUND(roof_ns / 1e6, 2) AS roof, ROUND(products_ns / 1e6, 2) AS products, ROUND(attention_ns / 1e6, 2) AS attention,
  ROUND((kernels_ns - roof_ns - products_ns - attention_ns) / 1e6, 2) AS unfused, ROUND((step_ns - kernels_ns) / 1e6, 2) AS host,
  ROUND(step_ns / 1e6, 2) AS step_ms, ROUND(low_ns / 1e6, 2) AS least, ROUND(high_ns / 1e6, 2) AS most
FROM steps
ORDER BY mode, kind DESC, execution DESC
