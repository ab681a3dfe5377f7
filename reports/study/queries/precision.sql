-- Linear layers in bf16 and FP8, compiled, in ms, with the sweep (its measured bf16 roof in TFLOP/s) of each.
SELECT c.mode, c.kind, ROUND(MAX(c.step_ns) FILTER (c.options = '') / 1e6, 2) AS bf16_ms, ROUND(MAX(c.step_ns) FILTER (c.options = 'linear-fp8') / 1e6, 2) AS fp8_ms,
  ROUND(MAX(c.dram_bytes) FILTER (c.options = '') / 1e9, 1) AS bf16_gb, ROUND(MAX(c.dram_bytes) FILTER (c.options = 'linear-fp8') / 1e9, 1) AS fp8_gb,
  ROUND(MAX(c.step_ns) FILTER (c.options = 'linear-int8') / 1e6, 2) AS int8_ms,
  ROUND(MAX(s.value) FILTER (c.options = '') / 1e12, 1) AS bf16_sweep, ROUND(MAX(s.value) FILTER (c.options = 'linear-fp8') / 1e12, 1) AS fp8_sweep
FROM step_costs c
JOIN ceilings s ON s.run_id = c.run_id AND s.source = 'measured' AND s.unit = 'tensor' AND s.precision = 'bf16'
WHERE c.execution = 'compile' AND (c.experiment = 'precision' OR (c.experiment = 'modes-8b' AND c.mode IN ('ar', 'dlm_full', 'dlm_block_dual')))
GROUP BY c.mode, c.kind
ORDER BY c.mode, c.kind
