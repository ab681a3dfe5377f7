-- Eager reuse steps by their place after a refresh, in ms: the first one is launched while the refresh still runs, and looks shorter.
WITH places AS (
  SELECT g.mode, t.value_ns, t.step - MAX(CASE WHEN t.kind = 'refresh' THEN t.step END) OVER (PARTITION BY g.run_id, t."repeat" ORDER BY t.step) AS place
  FROM timings t
  JOIN generations g ON g.run_id = t.run_id
  WHERE t.metric = 'step' AND g.execution = 'eager' AND g.batch = 1 AND g.experiment = 'e2-latency' AND g.mode IN ('dlm_block_dual', 'dlm_block_prefix')
)
SELECT mode, ROUND(MEDIAN(value_ns) FILTER (place = 1) / 1e6, 1) AS first_ms, ROUND(MEDIAN(value_ns) FILTER (place >= 8) / 1e6, 1) AS from_eighth_ms
FROM places
GROUP BY mode
ORDER BY mode
