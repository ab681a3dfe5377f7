-- Naive steps with block-sparse attention (a band of 512 either side and a sink, FlexAttention, one sweep of its own, CUDA graphs) and with all
-- pairs (E9, eager, other sweeps), in ms.
SELECT CAST(length AS INTEGER) AS length, ROUND(MEDIAN(step_ns) FILTER (experiment = 'e9-lengths') / 1e6, 1) AS all_pairs_ms,
  ROUND(MEDIAN(step_ns) FILTER (experiment = 'sparse') / 1e6, 1) AS block_sparse_ms
FROM step_costs
WHERE mode = 'dlm_full' AND kind = 'denoise' AND experiment IN ('e9-lengths', 'sparse') AND length IN (1152, 8192, 32768)
GROUP BY length
ORDER BY length
