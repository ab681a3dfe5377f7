-- E6, one sweep, 32 tokens: tokens a second at one token a step (the naive mode from 4 steps), AR's prefill as part of its latency,
-- and peak memory in GB.
WITH prefills AS (
  SELECT c.prompt_tokens, c.batch, 100 * c.steps * c.step_ns / g.latency_ns AS percent
  FROM step_costs c
  JOIN generations g ON g.run_id = c.run_id
  WHERE c.experiment = 'e6-throughput' AND c.mode = 'ar' AND c.kind = 'prefill'
)
SELECT e.prompt_tokens AS prompt, e.batch, CAST(MAX(e.tokens_per_s) FILTER (e.mode = 'ar') AS INTEGER) AS ar,
  CAST(MAX(e.tokens_per_s) FILTER (e.mode = 'dlm_block_dual') AS INTEGER) AS dual,
  CAST(MAX(e.tokens_per_s / e.tokens_per_step) FILTER (e.mode = 'dlm_full') AS INTEGER) AS naive,
  ROUND(MAX(e.tokens_per_s) FILTER (e.mode = 'ar') / MAX(e.tokens_per_s) FILTER (e.mode = 'dlm_block_dual'), 2) AS ar_over_dual,
  ROUND(MAX(e.low_tokens_per_s) FILTER (e.mode = 'ar') / MAX(e.high_tokens_per_s) FILTER (e.mode = 'dlm_block_dual'), 2) AS least,
  ROUND(MAX(e.high_tokens_per_s) FILTER (e.mode = 'ar') / MAX(e.low_tokens_per_s) FILTER (e.mode = 'dlm_block_dual'), 2) AS most,
  CAST(ANY_VALUE(p.percent) AS INTEGER) AS ar_prefill_percent, CAST(MAX(e.peak_memory_bytes) FILTER (e.mode = 'ar') / 1e9 AS INTEGER) AS ar_gb,
  CAST(MAX(e.peak_memory_bytes) FILTER (e.mode = 'dlm_block_dual') / 1e9 AS INTEGER) AS dual_gb, CAST(MAX(e.peak_memory_bytes) FILTER (e.mode = 'dlm_full') / 1e9 AS INTEGER) AS naive_gb,
  STRING_AGG(CASE e.mode WHEN 'dlm_full' THEN 'naive' ELSE 'dual' END, ', ' ORDER BY e.mode) FILTER (e.outcome = 'oom') AS out_of_memory
FROM figure_e6_throughput e
LEFT JOIN prefills p ON p.prompt_tokens = e.prompt_tokens AND p.batch = e.batch
WHERE e.experiment = 'e6-throughput'
GROUP BY e.prompt_tokens, e.batch
ORDER BY e.prompt_tokens, e.batch
