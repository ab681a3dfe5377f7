-- The same work at two clocks: a compiled naive step and a compiled refresh, 1,152 positions, both of one sweep. Clocks and watts are
-- medians over the whole run.
SELECT c.mode, c.kind, ROUND(c.flops / 1e12, 2) AS tflop, ROUND(c.step_ns / 1e6, 2) AS ms, ROUND(c.low_ns / 1e6, 2) AS least, ROUND(c.high_ns / 1e6, 2) AS most,
  CAST(t.mhz AS INTEGER) AS mhz, CAST(t.watts AS INTEGER) AS watts
FROM step_costs c
JOIN (SELECT run_id, MEDIAN(sm_clock_hz) / 1e6 AS mhz, MEDIAN(power_w) AS watts FROM telemetry GROUP BY run_id) t ON t.run_id = c.run_id
WHERE c.experiment = 'modes-8b' AND c.execution = 'compile' AND (c.mode, c.kind) IN (('dlm_full', 'denoise'), ('dlm_block_dual', 'refresh'))
ORDER BY c.mode
