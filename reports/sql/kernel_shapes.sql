-- One row per kernel and shape, for figures in notebooks: the points of the roofline and of the bandwidth lane, and the
-- parts of the time by family, by phase and lost against the roof.
SELECT
  run_id, phase, kind, family, operator, shapes, kernel, unit, precision, attribution, confidence, flops_source,
  dram_bytes_source,
  COUNT(*) AS launches,
  COUNT(DISTINCT module) AS modules,
  SUM(duration_ns) AS duration_ns,
  MEDIAN(duration_ns) AS median_ns,
  SUM(flops) AS flops,
  SUM(dram_bytes) AS dram_bytes,
  SUM(roof_time_ns) AS roof_time_ns,
  SUM(CASE WHEN basis = 'roof' THEN GREATEST(duration_ns - roof_time_ns, 0) END) AS lost_ns,
  MAX(roof_flops_per_s) AS roof_flops_per_s,
  MODE(bound) AS bound,
  MODE(diagnosis) AS diagnosis
FROM placed_kernels
WHERE list_contains($runs, run_id)
GROUP BY
  run_id, phase, kind, family, operator, shapes, kernel, unit, precision, attribution, confidence, flops_source,
  dram_bytes_source
ORDER BY duration_ns DESC, run_id, kernel, operator, shapes, phase, kind
