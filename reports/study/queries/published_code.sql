-- A block of 32 tokens after 1,024 with the published code's costs emulated, eager, one variant after the other in one sweep.
SELECT CASE c.options WHEN '' THEN 'clean' ELSE c.options END AS variant, ROUND(MAX(c.step_ns) FILTER (c.kind = 'reuse') / 1e6, 1) AS reuse_ms,
  ROUND(MAX(c.low_ns) FILTER (c.kind = 'reuse') / 1e6, 1) AS least, ROUND(MAX(c.high_ns) FILTER (c.kind = 'reuse') / 1e6, 1) AS most,
  ROUND(MAX(s.busy_ns) FILTER (c.kind = 'reuse') / 1e6, 2) AS reuse_kernels_ms, ROUND(MAX(c.step_ns) FILTER (c.kind = 'refresh') / 1e6, 1) AS refresh_ms
FROM step_costs c
JOIN generation_steps s ON s.run_id = c.run_id AND s.kind = c.kind
WHERE c.experiment = 'modes-8b' AND c.generated_tokens = 32
GROUP BY c.options
ORDER BY reuse_ms
