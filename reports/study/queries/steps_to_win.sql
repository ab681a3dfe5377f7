-- AR's latency over that of the dual cache (above 1 blocks win), E7, one sweep, prompt 1,024, blocks of 32: as measured for 64 tokens,
-- then projected from the medians of each batch's steps to 256 tokens, and to the limit of long generations, where AR's one prefill
-- no longer counts.
WITH steps AS (
  SELECT batch, MEDIAN(step_ns) FILTER (kind = 'prefill') AS prefill, MEDIAN(step_ns) FILTER (kind = 'decode') AS decode,
    MEDIAN(step_ns) FILTER (kind = 'refresh') AS refresh, MEDIAN(step_ns) FILTER (kind = 'reuse') AS reuse
  FROM step_costs
  WHERE experiment = 'e7-steps' AND mode IN ('ar', 'dlm_block_dual')
  GROUP BY batch
),
measured AS (
  SELECT b.batch, b.steps // 2 AS steps_a_block, a.latency_ns / b.latency_ns AS ratio, a.low_ns / b.high_ns AS least, a.high_ns / b.low_ns AS most
  FROM generations b
  JOIN generations a ON a.experiment = b.experiment AND a.batch = b.batch AND a.mode = 'ar'
  WHERE b.experiment = 'e7-steps' AND b.mode = 'dlm_block_dual'
)
SELECT m.batch, m.steps_a_block, 32 // m.steps_a_block AS tokens_a_forward, ROUND(m.ratio, 2) AS measured_64, ROUND(m.least, 2) AS least, ROUND(m.most, 2) AS most,
  ROUND((s.prefill + 255 * s.decode) / (8 * (s.refresh + (m.steps_a_block - 1) * s.reuse)), 2) AS projected_256,
  ROUND(32 * s.decode / (s.refresh + (m.steps_a_block - 1) * s.reuse), 2) AS in_the_limit
FROM measured m
JOIN steps s ON s.batch = m.batch
ORDER BY m.batch, m.steps_a_block
