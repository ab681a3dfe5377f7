-- Naive over blocks of 32 at the datasheet roofs of three cards, LLaDA-8B, 128 tokens after 1,024: a step, and a generation with its
-- refreshes. ridge is FLOPs a byte at which both roofs meet.
WITH cards AS (
  SELECT device, MAX(value) FILTER (precision = 'bf16' AND unit = 'tensor') AS flops_per_s, MAX(value) FILTER (resource = 'bandwidth' AND level = 'dram') AS bytes_per_s
  FROM ceilings
  WHERE run_id IS NULL AND device IN ('NVIDIA RTX A6000', 'NVIDIA A100 SXM 80GB', 'NVIDIA H200')
  GROUP BY device
),
times AS (
  SELECT c.device, c.flops_per_s / c.bytes_per_s AS ridge, p.mode, p.kind, p.forwards, GREATEST(p.flops / c.flops_per_s, p.bytes / c.bytes_per_s) AS seconds
  FROM predictions p
  JOIN generations g ON g.run_id = p.run_id
  CROSS JOIN cards c
  WHERE g.experiment = 'modes-8b' AND g.execution = 'cuda_graph' AND g.generated_tokens = 128 AND p.component = 'all' AND p.convention = 'corrected'
    AND p.mode IN ('dlm_full', 'dlm_block_dual')
)
SELECT device, CAST(MAX(ridge) AS INTEGER) AS ridge, ROUND(1e3 * MAX(seconds) FILTER (kind = 'denoise'), 1) AS naive_ms,
  ROUND(1e3 * MAX(seconds) FILTER (kind = 'reuse'), 1) AS reuse_ms,
  ROUND(MAX(seconds) FILTER (kind = 'denoise') / MAX(seconds) FILTER (kind = 'reuse'), 2) AS naive_over_block_step,
  ROUND(SUM(forwards * seconds) FILTER (mode = 'dlm_full') / SUM(forwards * seconds) FILTER (mode = 'dlm_block_dual'), 2) AS naive_over_block_generation
FROM times
GROUP BY device
ORDER BY naive_over_block_step
