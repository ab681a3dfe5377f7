-- Naive over blocks of 32 on an RTX A6000, from its datasheet's roofs and the block step that the host sustained here. A naive step
-- and a refresh take `over_roof` times their roof (1, or the most of E9's naive steps); a reuse step the same, or the
-- host's step where that is longer. Host steps are those of published_code.sql.
WITH rates AS (
  SELECT MAX(value) FILTER (precision = 'bf16' AND unit = 'tensor') AS flops_per_s, MAX(value) FILTER (resource = 'bandwidth' AND level = 'dram') AS bytes_per_s
  FROM ceilings
  WHERE run_id IS NULL AND device = 'NVIDIA RTX A6000'
),
roofs AS (
  SELECT MAX(GREATEST(p.flops / r.flops_per_s, p.bytes / r.bytes_per_s)) FILTER (p.kind = 'denoise') AS naive_s,
    MAX(GREATEST(p.flops / r.flops_per_s, p.bytes / r.bytes_per_s)) FILTER (p.kind = 'reuse') AS reuse_s
  FROM predictions p
  JOIN generations g ON g.run_id = p.run_id
  CROSS JOIN rates r
  WHERE g.experiment = 'modes-8b' AND g.generated_tokens = 128 AND p.component = 'all' AND p.convention = 'corrected'
    AND (p.mode, p.kind) IN (('dlm_full', 'denoise'), ('dlm_block_dual', 'reuse'))
),
factors AS (
  SELECT 1.0 AS over_roof
  UNION ALL
  SELECT MAX(step_ns / floor_ns)
  FROM step_costs
  WHERE experiment = 'e9-lengths' AND mode = 'dlm_full' AND length > 1000
),
hosts AS (
  SELECT CASE options WHEN '' THEN 'clean' ELSE 'published, emulated' END AS code, step_ns / 1e9 AS step_s
  FROM step_costs
  WHERE experiment = 'modes-8b' AND generated_tokens = 32 AND kind = 'reuse' AND options IN ('', 'faithful')
)
SELECT code, ROUND(step_s * 1e3, 1) AS host_step_ms, ROUND(over_roof, 2) AS over_roof, CAST(naive_s * over_roof * 1e3 AS INTEGER) AS naive_ms,
  ROUND(reuse_s * over_roof * 1e3, 1) AS reuse_kernels_ms,
  ROUND(32 * naive_s * over_roof / (naive_s * over_roof + 31 * GREATEST(reuse_s * over_roof, step_s)), 2) AS naive_over_block
FROM hosts, factors, roofs
ORDER BY code, over_roof
