-- Every kind of step in ms: unprofiled times by execution, and of the compiled step its kernels at their roofs and what they lose.
WITH lost AS (
  SELECT run_id, kind, SUM(roof_ns) AS roof_ns, SUM(lost_ns) FILTER (item = 'matmul') AS matmul_ns,
    SUM(lost_ns) FILTER (item = 'attention') AS attention_ns, SUM(lost_ns) FILTER (item NOT IN ('matmul', 'attention')) AS rest_ns
  FROM deviations
  WHERE level = 'family'
  GROUP BY run_id, kind
),
steps AS (
  SELECT c.mode, c.kind, c.execution, c.step_ns, l.roof_ns / t.traced_steps AS roof_ns, l.matmul_ns / t.traced_steps AS matmul_ns,
    l.attention_ns / t.traced_steps AS attention_ns, l.rest_ns / t.traced_steps AS rest_ns
  FROM step_costs c
  JOIN generation_steps t ON t.run_id = c.run_id AND t.kind = c.kind
  JOIN lost l ON l.run_id = c.run_id AND l.kind = c.kind
  WHERE c.experiment = 'modes-8b' AND c.generated_tokens = 128
)
SELECT mode, kind,
  ROUND(MAX(step_ns) FILTER (execution = 'eager') / 1e6, 1) AS eager,
  ROUND(MAX(step_ns) FILTER (execution = 'cuda_graph') / 1e6, 2) AS cuda_graph,
  ROUND(MAX(step_ns) FILTER (execution = 'compile') / 1e6, 2) AS compiled,
  ROUND(MAX(roof_ns) FILTER (execution = 'compile') / 1e6, 2) AS at_roofs,
  ROUND(MAX(matmul_ns) FILTER (execution = 'compile') / 1e6, 2) AS matmul,
  ROUND(MAX(attention_ns) FILTER (execution = 'compile') / 1e6, 2) AS attention,
  ROUND(MAX(rest_ns) FILTER (execution = 'compile') / 1e6, 2) AS rest
FROM steps
GROUP BY mode, kind
ORDER BY mode, kind
