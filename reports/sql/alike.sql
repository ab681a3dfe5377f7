-- Launches that are alike in everything but time, added up: what every panel about kernels is made of.
-- A sum is of launches that all know it, or NULL. The grid is 0 where every launch stays by itself (launch is its kernel_id);
-- else those go together whose durations lie in the same of so many intervals to an octave (launch numbers the interval).
-- In the order of their names they take the least room.
SELECT
  kernel, shapes, REGEXP_REPLACE(module, '\.[0-9]+', '.*', 'g') AS module,
  k.run_id, mode, execution, phase, kind, family, operator,
  k.unit, k.precision, attribution, confidence, flops_source, dram_bytes_source,
  CASE WHEN $grid = 0 THEN kernel_id ELSE CAST(FLOOR($grid * LOG2(GREATEST(duration_ns, 1))) AS BIGINT) END AS launch,
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
FROM kernel_roofline k
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
  k.run_id, mode, execution, phase, kind, family, operator, shapes, kernel, REGEXP_REPLACE(module, '\.[0-9]+', '.*', 'g'),
  k.unit, k.precision, attribution, confidence, flops_source, dram_bytes_source,
  CASE WHEN $grid = 0 THEN kernel_id ELSE CAST(FLOOR($grid * LOG2(GREATEST(duration_ns, 1))) AS BIGINT) END,
  flops IS NULL, counter_flops IS NULL, compulsory_bytes IS NULL, cache_model_bytes IS NULL, counter_dram_bytes IS NULL,
  l2_bytes IS NULL, l1_bytes IS NULL, roof_time_ns IS NULL
ORDER BY ALL
