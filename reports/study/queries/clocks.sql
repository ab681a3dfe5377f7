-- Median SM clock of AR and of the dual cache in E6 and E7, by batch, in MHz: the least over prompts, and the prompt it belongs to.
WITH clocks AS (
  SELECT g.mode, g.batch, g.prompt_tokens, MEDIAN(t.sm_clock_hz) / 1e6 AS mhz
  FROM telemetry t
  JOIN generations g ON g.run_id = t.run_id
  WHERE g.experiment IN ('e6-throughput', 'e7-steps') AND g.mode IN ('ar', 'dlm_block_dual')
  GROUP BY ALL
)
SELECT batch, CAST(MIN(mhz) FILTER (mode = 'ar') AS INTEGER) AS ar_least_mhz, ARG_MIN(prompt_tokens, mhz) FILTER (mode = 'ar') AS ar_prompt,
  CAST(MIN(mhz) FILTER (mode = 'dlm_block_dual') AS INTEGER) AS dual_least_mhz, ARG_MIN(prompt_tokens, mhz) FILTER (mode = 'dlm_block_dual') AS dual_prompt
FROM clocks
GROUP BY batch
ORDER BY batch
