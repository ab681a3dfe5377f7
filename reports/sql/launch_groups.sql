-- Groups of launches that are equal in everything but time, from which every panel about kernels is computed.
-- With bins = 0 every launch is a group of its own, and `launch` is its kernel_id. Otherwise a group is a bin of duration,
-- bins to an octave, and `launch` is the bin's number. A launch with a NULL never shares a group with one that has a value,
-- so that a sum is over all launches of the group, or NULL. Sorted by name the rows compress best.
SELECT
  kernel, shapes, m.all_layers AS module,
  k.run_id, mode, execution, phase, CASE WHEN step_id IS NULL THEN '(no step)' ELSE step_phase END AS step_phase, kind,
  family, operator,
  k.unit, k.precision, attribution, confidence, flops_source, dram_bytes_source,
  CASE WHEN $bins = 0 THEN kernel_id ELSE CAST(FLOOR($bins * LOG2(GREATEST(duration_ns, 1))) AS BIGINT) END AS launch,
  COUNT(*) AS launches,
  CAST(SUM(duration_ns) AS BIGINT) AS duration_ns,
  MIN(duration_ns) AS shortest_ns,
  MAX(duration_ns) AS longest_ns,
  SUM(flops) AS best_flops,
  SUM(CASE WHEN flops_source = 'algorithm' THEN flops END) AS algorithm_flops,
  SUM(counter_flops) AS counter_flops,
  SUM(dram_bytes) AS best_bytes,
  SUM(compulsory_bytes) AS compulsory_bytes,
  SUM(cache_model_bytes) AS cache_model_bytes,
  SUM(counter_dram_bytes) AS counter_bytes,
  SUM(l2_bytes) AS l2_bytes,
  SUM(l1_bytes) AS l1_bytes,
  SUM(roof_time_ns) AS best_roof_ns,
  SUM(CASE WHEN roof_time_ns IS NOT NULL THEN GREATEST(duration_ns - roof_time_ns, 0) END) AS best_lost_ns,
  MAX(roof_flops_per_s) AS roof_flops_per_s,
  MAX(b.dram_bytes_per_s) AS dram_bytes_per_s,
  MAX(b.l2_bytes_per_s) AS l2_bytes_per_s,
  MODE(bound ORDER BY bound) AS bound,
  MODE(diagnosis ORDER BY diagnosis) AS diagnosis
FROM placed_kernels k
LEFT JOIN module_layers m ON m.run_id = k.run_id AND m.module = k.module
LEFT JOIN (
  SELECT
    run_id,
    MAX(CASE WHEN level = 'dram' THEN value END) AS dram_bytes_per_s,
    MAX(CASE WHEN level = 'l2' THEN value END) AS l2_bytes_per_s
  FROM roofs
  WHERE resource = 'bandwidth'
  GROUP BY run_id
) b ON b.run_id = k.run_id
WHERE list_contains($runs, k.run_id)
GROUP BY
  k.run_id, mode, execution, phase, step_id IS NULL, step_phase, kind, family, operator, shapes, kernel, m.all_layers,
  k.unit, k.precision, attribution, confidence, flops_source, dram_bytes_source,
  CASE WHEN $bins = 0 THEN kernel_id ELSE CAST(FLOOR($bins * LOG2(GREATEST(duration_ns, 1))) AS BIGINT) END,
  flops IS NULL, counter_flops IS NULL, compulsory_bytes IS NULL, cache_model_bytes IS NULL, counter_dram_bytes IS NULL,
  l2_bytes IS NULL, l1_bytes IS NULL, roof_time_ns IS NULL
ORDER BY ALL
