-- One refresh against the AR steps of a whole block, E7, prompt 1,024, blocks of 32, in ms: medians over the runs of each batch.
SELECT batch, CAST(MEDIAN(step_ns) FILTER (kind = 'refresh') / 1e6 AS INTEGER) AS refresh_ms, CAST(32 * MEDIAN(step_ns) FILTER (kind = 'decode') / 1e6 AS INTEGER) AS ar_32_tokens_ms,
  ROUND(32 * MEDIAN(step_ns) FILTER (kind = 'decode') / MEDIAN(step_ns) FILTER (kind = 'refresh'), 2) AS ar_over_refresh
FROM step_costs
WHERE experiment = 'e7-steps' AND mode IN ('ar', 'dlm_block_dual')
GROUP BY batch
ORDER BY batch
