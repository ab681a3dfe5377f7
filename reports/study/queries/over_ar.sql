-- Whole generations at one token a step, batch 1, blocks of 32 over AR, both in CUDA graphs and in one sweep.
WITH runs_of AS (
  SELECT g.*, s.value AS sweep
  FROM generations g
  JOIN ceilings s ON s.run_id = g.run_id AND s.source = 'measured' AND s.unit = 'tensor' AND s.precision = 'bf16'
  WHERE g.experiment IN ('e6-throughput', 'e7-steps') AND g.execution = 'cuda_graph' AND g.batch = 1
)
SELECT b.experiment, b.prompt_tokens AS prompt, b.generated_tokens AS generated, ROUND(b.latency_ns / a.latency_ns, 2) AS dual_over_ar,
  ROUND(b.low_ns / a.high_ns, 2) AS least, ROUND(b.high_ns / a.low_ns, 2) AS most
FROM runs_of b
JOIN runs_of a ON a.mode = 'ar' AND a.sweep = b.sweep AND a.prompt_tokens = b.prompt_tokens AND a.generated_tokens = b.generated_tokens
WHERE b.mode = 'dlm_block_dual' AND b.steps = b.generated_tokens
ORDER BY b.prompt_tokens
