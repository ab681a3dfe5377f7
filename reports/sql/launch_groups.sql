-- Groups of launches that are equal in everything but time, from which every panel about kernels is computed.
-- With bins = 0 every launch is a group of its own, and `launch` is its kernel_id. Otherwise a group is a bin of duration,
-- bins to an octave, and `launch` is the bin's number. A launch with a NULL never shares a group with one that has a value,
-- so that a sum is over all launches of the group, or NULL. The launches of a group agree in nearest roof, bound,
-- diagnosis and cause, and lie on one side of the roof: none has the diagnosis of another, and the time lost follows from the sums of
-- time and roof time. Sorted by name the rows compress best.
-- Grouping millions of kernels by texts takes five times as long as by numbers: classes that agree in everything shown get
-- one number.
WITH shown AS (
  SELECT
    c.run_id, c.class_id,
    MIN(c.class_id) OVER (
      PARTITION BY c.run_id, c.kernel, c.family, g.operator, g.shapes, m.all_layers, c.unit, c.precision, c.attribution
    ) AS shown_id,
    c.kernel, g.shapes, m.all_layers AS module, c.family, g.operator, c.unit, c.precision, c.attribution,
    l.grid_blocks, l.block_threads, l.registers, l.shared_bytes, l.occupancy
  FROM kernel_classes c
  LEFT JOIN launch_geometry l ON l.run_id = c.run_id AND l.class_id = c.class_id
  LEFT JOIN signatures g ON g.signature_id = c.signature_id
  LEFT JOIN module_layers m ON m.run_id = c.run_id AND m.module = c.module
  WHERE list_contains($runs, c.run_id)
),
-- the geometry on which all classes of a number agree
geometry AS (
  SELECT
    run_id, shown_id,
    CASE WHEN COUNT(grid_blocks) = COUNT(*) AND MIN(grid_blocks) = MAX(grid_blocks) THEN MAX(grid_blocks) END AS grid_blocks,
    CASE WHEN COUNT(block_threads) = COUNT(*) AND MIN(block_threads) = MAX(block_threads) THEN MAX(block_threads) END AS block_threads,
    CASE WHEN COUNT(registers) = COUNT(*) AND MIN(registers) = MAX(registers) THEN MAX(registers) END AS registers,
    CASE WHEN COUNT(shared_bytes) = COUNT(*) AND MIN(shared_bytes) = MAX(shared_bytes) THEN MAX(shared_bytes) END AS shared_bytes,
    CASE WHEN COUNT(occupancy) = COUNT(*) AND MIN(occupancy) = MAX(occupancy) THEN MAX(occupancy) END AS occupancy
  FROM shown
  GROUP BY run_id, shown_id
),
grouped AS (
  SELECT
    k.run_id, s.shown_id, k.phase, k.step_id IS NULL AS outside, k.step_phase, k.kind, k.confidence, k.flops_source,
    k.dram_bytes_source, k.basis, k.nearest_roof, k.bound, k.diagnosis, k.cause, k.roof_time_ns > k.duration_ns AS above,
    CASE WHEN $bins = 0 THEN kernel_id ELSE CAST(FLOOR($bins * LOG2(GREATEST(duration_ns, 1))) AS BIGINT) END AS launch,
    (flops IS NULL)::INT + 2 * (counter_flops IS NULL)::INT + 4 * (compulsory_bytes IS NULL)::INT
      + 8 * (cache_model_bytes IS NULL)::INT + 16 * (counter_dram_bytes IS NULL)::INT + 32 * (l2_bytes IS NULL)::INT
      + 64 * (l1_bytes IS NULL)::INT + 128 * (roof_time_ns IS NULL)::INT AS unknown,
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
    MAX(roof_flops_per_s) AS roof_flops_per_s
  FROM placed_kernels k
  JOIN shown s ON s.run_id = k.run_id AND s.class_id = k.class_id
  WHERE list_contains($runs, k.run_id)
  GROUP BY ALL
)
SELECT
  s.kernel, s.shapes, s.module, k.run_id, r.mode, r.execution, k.phase,
  CASE WHEN k.outside THEN '(no step)' ELSE k.step_phase END AS step_phase, k.kind, s.family, s.operator, s.unit,
  s.precision, s.attribution, k.confidence, k.flops_source, k.dram_bytes_source, k.basis, k.launch, k.launches, k.duration_ns,
  k.shortest_ns, k.longest_ns, k.best_flops, k.algorithm_flops, k.counter_flops, k.best_bytes, k.compulsory_bytes,
  k.cache_model_bytes, k.counter_bytes, k.l2_bytes, k.l1_bytes, k.best_roof_ns, k.roof_flops_per_s,
  b.dram_bytes_per_s, b.l2_bytes_per_s, k.nearest_roof, k.bound, k.diagnosis, k.cause, o.grid_blocks, o.block_threads,
  o.registers, o.shared_bytes, o.occupancy
FROM grouped k
JOIN shown s ON s.run_id = k.run_id AND s.class_id = k.shown_id
JOIN geometry o ON o.run_id = k.run_id AND o.shown_id = k.shown_id
JOIN runs r ON r.run_id = k.run_id
LEFT JOIN (
  SELECT
    run_id,
    MAX(CASE WHEN level = 'dram' THEN value END) AS dram_bytes_per_s,
    MAX(CASE WHEN level = 'l2' THEN value END) AS l2_bytes_per_s
  FROM roofs
  WHERE resource = 'bandwidth'
  GROUP BY run_id
) b ON b.run_id = k.run_id
ORDER BY ALL
