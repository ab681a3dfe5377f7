-- One row per kernel and shape, for figures in notebooks: the points of the roofline and of the bandwidth lane, and the
-- parts of the time by family, by phase and lost against the roof.
SELECT
  run_id, phase, kind, family, operator, shapes, kernel, unit, precision, attribution, confidence, flops_source,
  dram_bytes_source, basis,
  COUNT(*) AS launches,
  COUNT(DISTINCT module) AS modules,
  SUM(duration_ns) AS duration_ns,
  MEDIAN(duration_ns) AS median_ns,
  SUM(flops) AS flops,
  SUM(dram_bytes) AS dram_bytes,
  SUM(roof_time_ns) AS roof_time_ns,
  SUM(CASE WHEN basis = 'roof' THEN GREATEST(duration_ns - roof_time_ns, 0) END) AS lost_ns,
  MAX(roof_flops_per_s) AS roof_flops_per_s,
  MODE(nearest_roof) AS nearest_roof,
  -- what the point reached at least half of
  CASE
    WHEN SUM(duration_ns) = 0 THEN 'none'
    WHEN SUM(roof_time_ns) >= 0.5 * SUM(duration_ns) THEN MODE(nearest_roof)
    WHEN SUM(CASE WHEN bound = 'latency' THEN duration_ns END) >= 0.5 * SUM(duration_ns) THEN 'latency'
    ELSE 'none'
  END AS bound,
  -- the most frequent diagnosis, and of how many launches it is if not of all
  CASE
    WHEN LIST_MAX(MAP_VALUES(HISTOGRAM(diagnosis))) < COUNT(*)
      THEN FORMAT('{:,} of {:,} launches: {}', LIST_MAX(MAP_VALUES(HISTOGRAM(diagnosis))), COUNT(*), MODE(diagnosis))
    ELSE MODE(diagnosis)
  END AS diagnosis
FROM placed_kernels
WHERE list_contains($runs, run_id)
GROUP BY
  run_id, phase, kind, family, operator, shapes, kernel, unit, precision, attribution, confidence, flops_source,
  dram_bytes_source, basis
ORDER BY duration_ns DESC, run_id, kernel, operator, shapes, phase, kind, basis
