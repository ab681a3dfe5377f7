-- The first compiled naive steps of the first repeat, and the median of all: steps grow longer as the card reaches its power cap.
SELECT ROUND(MAX(t.value_ns) FILTER (t."repeat" = 0 AND t.step = 0) / 1e6, 1) AS first_ms, ROUND(MAX(t.value_ns) FILTER (t."repeat" = 0 AND t.step = 3) / 1e6, 1) AS fourth_ms,
  ROUND(MEDIAN(t.value_ns) / 1e6, 1) AS median_ms
FROM timings t
JOIN generations g ON g.run_id = t.run_id
WHERE g.experiment = 'modes-8b' AND g.mode = 'dlm_full' AND g.execution = 'compile' AND t.metric = 'step'
