-- The views that summaries read. A warehouse file keeps their rows (warehouse/rollups.py), computed from the kernels when a
-- run is loaded or repriced.

-- Kernels of a run, aggregated by every column that summaries group by.
-- phase is the step's own or, in training, the kernel's (forward, backward, optimizer); step_phase is the step's alone.
-- roof_ns is their minimum time at the roofs. reached_ns limits each kernel's part of it to the kernel's duration, for
-- kernels above their roof. Columns counted_ and counters_of_ are sums over the kernels that have both kinds of bytes.
-- Kernels of a class have the same operator, module, family and attribution: they are summed by the class's number first,
-- since grouping millions of kernels by texts takes twice as long.
CREATE OR REPLACE VIEW kernel_groups AS
WITH by_class AS (
  SELECT
    run_id, class_id, step_phase, kind, step_id IS NOT NULL AS in_step, dram_bytes_source, nearest_roof, bound,
    diagnosis, basis,
    COUNT(*) AS kernels,
    SUM(duration_ns) AS duration_ns,
    SUM(flops) AS flops,
    SUM(dram_bytes) AS dram_bytes,
    SUM(compulsory_bytes) AS compulsory_bytes,
    SUM(cache_model_bytes) AS cache_model_bytes,
    COUNT(counter_dram_bytes) AS counted_kernels,
    SUM(counter_dram_bytes) AS counter_dram_bytes,
    SUM(CASE WHEN counter_dram_bytes IS NOT NULL THEN compulsory_bytes END) AS counted_compulsory_bytes,
    SUM(CASE WHEN compulsory_bytes IS NOT NULL THEN counter_dram_bytes END) AS counters_of_compulsory_bytes,
    SUM(CASE WHEN counter_dram_bytes IS NOT NULL THEN cache_model_bytes END) AS counted_cache_model_bytes,
    SUM(CASE WHEN cache_model_bytes IS NOT NULL THEN counter_dram_bytes END) AS counters_of_cache_model_bytes,
    SUM(roof_time_ns) AS roof_ns,
    SUM(CASE WHEN roof_time_ns IS NOT NULL THEN LEAST(roof_time_ns, duration_ns) END) AS reached_ns
  FROM placed_kernels
  GROUP BY
    run_id, class_id, step_phase, kind, step_id IS NOT NULL, dram_bytes_source, nearest_roof, bound, diagnosis,
    basis
)
SELECT
  b.run_id, s.operator, c.module, c.family, COALESCE(b.step_phase, c.phase) AS phase, b.step_phase, b.kind, b.in_step,
  c.attribution, b.dram_bytes_source, b.nearest_roof, b.bound, b.diagnosis, b.basis,
  CAST(SUM(b.kernels) AS BIGINT) AS kernels,
  CAST(SUM(b.duration_ns) AS BIGINT) AS duration_ns,
  SUM(b.flops) AS flops,
  SUM(b.dram_bytes) AS dram_bytes,
  SUM(b.compulsory_bytes) AS compulsory_bytes,
  SUM(b.cache_model_bytes) AS cache_model_bytes,
  CAST(SUM(b.counted_kernels) AS BIGINT) AS counted_kernels,
  SUM(b.counter_dram_bytes) AS counter_dram_bytes,
  SUM(b.counted_compulsory_bytes) AS counted_compulsory_bytes,
  SUM(b.counters_of_compulsory_bytes) AS counters_of_compulsory_bytes,
  SUM(b.counted_cache_model_bytes) AS counted_cache_model_bytes,
  SUM(b.counters_of_cache_model_bytes) AS counters_of_cache_model_bytes,
  SUM(b.roof_ns) AS roof_ns,
  SUM(b.reached_ns) AS reached_ns
FROM by_class b
JOIN kernel_classes c ON c.run_id = b.run_id AND c.class_id = b.class_id
LEFT JOIN signatures s ON s.signature_id = c.signature_id
GROUP BY
  b.run_id, s.operator, c.module, c.family, COALESCE(b.step_phase, c.phase), b.step_phase, b.kind, b.in_step, c.attribution,
  b.dram_bytes_source, b.nearest_roof, b.bound, b.diagnosis, b.basis;

-- Kernels of a step, aggregated by part of the closed forms: linear, attention and other. Attention that is not one operator
-- is batched products and a softmax; rotary angles are batched products too and count as other. A sum is of the kernels that
-- have the quantity, and the column _over_ns of the same name is their time; that of bytes over links counts in those of
-- DRAM bytes, since no DRAM bytes of them are missing. work_flops counts copies, fills, gathers and
-- communication as 0, work_bytes takes the bytes that copies and fills moved. The compiler's fused kernels have bytes but no
-- FLOPs: fused_bytes are their bytes, and their time counts in priced_over_ns. compute_ns is the FLOPs' minimum time, each
-- at the peak of its own precision and unit; peakless_flops have no known peak. sampling_ns is of the kernels that sample
-- tokens.
CREATE OR REPLACE VIEW step_parts AS
WITH classes AS (
  SELECT
    c.run_id,
    c.class_id,
    CASE
      WHEN c.module LIKE '%rotary%' THEN 'other'
      WHEN c.family = 'attention' OR s.operator LIKE 'aten::%bmm%' THEN 'attention'
      WHEN c.family = 'matmul' THEN 'linear'
      ELSE 'other'
    END AS component,
    c.category IN ('memcpy', 'memset') AS copies,
    COALESCE(c.family IN ('copy', 'gather', 'communication'), FALSE) AS moves,
    COALESCE(c.family = 'fused', FALSE) AS is_fused,
    COALESCE(c.module = 'sampling' OR c.module LIKE 'sampling.%' OR c.family = 'sampling', FALSE) AS samples
  FROM kernel_classes c
  LEFT JOIN signatures s ON s.signature_id = c.signature_id
),
parts AS (
  SELECT
    p.run_id, p.step_id, c.component, p.duration_ns, p.flops, p.dram_bytes, p.compute_time_ns, p.cache_model_bytes,
    p.counter_dram_bytes, p.roof_time_ns, p.basis, c.is_fused, c.samples,
    CASE WHEN c.copies THEN 0 WHEN c.moves THEN COALESCE(p.flops, 0) ELSE p.flops END AS work_flops,
    CASE WHEN c.copies THEN p.dram_bytes ELSE p.compulsory_bytes END AS work_bytes
  FROM placed_kernels p
  JOIN classes c ON c.run_id = p.run_id AND c.class_id = p.class_id
  WHERE p.step_id IS NOT NULL
)
SELECT
  run_id, step_id, component,
  COUNT(*) AS kernels,
  CAST(SUM(duration_ns) AS BIGINT) AS duration_ns,
  SUM(flops) AS flops,
  SUM(dram_bytes) AS dram_bytes,
  CAST(SUM(CASE WHEN dram_bytes IS NOT NULL OR basis = 'communication' THEN duration_ns ELSE 0 END) AS BIGINT) AS dram_over_ns,
  SUM(work_flops) AS work_flops,
  CAST(SUM(CASE WHEN work_flops IS NOT NULL THEN duration_ns ELSE 0 END) AS BIGINT) AS flops_over_ns,
  CAST(SUM(CASE
    WHEN work_flops IS NOT NULL OR (is_fused AND work_bytes IS NOT NULL) THEN duration_ns ELSE 0
  END) AS BIGINT) AS priced_over_ns,
  SUM(CASE WHEN work_flops IS NULL AND is_fused THEN work_bytes ELSE 0 END) AS fused_bytes,
  SUM(compute_time_ns) AS compute_ns,
  SUM(CASE WHEN compute_time_ns IS NULL AND flops IS NOT NULL THEN flops ELSE 0 END) AS peakless_flops,
  SUM(work_bytes) AS work_bytes,
  CAST(SUM(CASE WHEN work_bytes IS NOT NULL OR basis = 'communication' THEN duration_ns ELSE 0 END) AS BIGINT) AS bytes_over_ns,
  SUM(cache_model_bytes) AS cache_model_bytes,
  CAST(SUM(CASE WHEN cache_model_bytes IS NOT NULL THEN duration_ns ELSE 0 END) AS BIGINT) AS cache_model_over_ns,
  SUM(counter_dram_bytes) AS counter_dram_bytes,
  CAST(SUM(CASE WHEN counter_dram_bytes IS NOT NULL THEN duration_ns ELSE 0 END) AS BIGINT) AS counter_over_ns,
  SUM(roof_time_ns) AS roof_ns,
  CAST(SUM(CASE WHEN roof_time_ns IS NOT NULL THEN duration_ns ELSE 0 END) AS BIGINT) AS roof_over_ns,
  CAST(SUM(CASE WHEN samples THEN duration_ns ELSE 0 END) AS BIGINT) AS sampling_ns
FROM parts
GROUP BY run_id, step_id, component;

-- Launches of a step. Several kernels of one launch are the replay of a graph.
CREATE OR REPLACE VIEW step_launches AS
WITH launched AS (
  SELECT run_id, step_id, rank, launch_ns, COUNT(*) AS kernels, SUM(duration_ns) AS duration_ns
  FROM kernels
  WHERE step_id IS NOT NULL
  GROUP BY run_id, step_id, rank, launch_ns
)
SELECT
  run_id, step_id,
  CAST(SUM(kernels) AS BIGINT) AS kernels,
  COUNT(launch_ns) AS launches,
  CAST(SUM(CASE WHEN launch_ns IS NOT NULL AND kernels > 1 THEN kernels ELSE 0 END) AS BIGINT) AS replayed_kernels,
  CAST(SUM(duration_ns) AS BIGINT) AS device_time_ns
FROM launched
GROUP BY run_id, step_id;
