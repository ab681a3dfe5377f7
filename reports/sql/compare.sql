-- The differences between two groups of runs, base and other. Times, launches, FLOPs and bytes are means per traced step
-- of a kind (per run for kernels outside of steps). At every level the rows of a kind of step sum to its device time:
--   unprofiled  a kind of step without the profiler: the median; its samples are the medians of the repeats
--   step        the device time of a kind of step, from the trace, as at the levels below
--   family, module (all layers summed), operator, and row: operator and shapes within a module
-- Rows never align by kernel name. They align by module only if both sides name modules for at least half of the time of
-- the kind. Shapes of an operator that both sides have align with themselves. The others align in the order of their first
-- launch if both sides have equally many, otherwise all together.
-- noise_ns is half the width of a 99 % interval of the difference (Student's t, pooled variance): over runs if both sides
-- have several, otherwise over steps (unprofiled: over repeats). Two runs of one configuration differ by more than their
-- steps do, so noise over steps is at least 1 % of a step; for a part of a step at least 3 %, or 100 ns a launch.
-- If a side has a single sample, noise is unknown and assumed to be 5 %, or 200 ns a launch.
WITH compared_runs AS (
  SELECT 'base' AS side, run_id FROM runs WHERE LIST_CONTAINS($base, run_id)
  UNION ALL
  SELECT 'other' AS side, run_id FROM runs WHERE LIST_CONTAINS($other, run_id)
),
launched AS (
  SELECT
    c.side, k.run_id, k.rank, k.step_id, k.kernel_id, k.kernel, k.family, k.duration_ns, k.flops, k.dram_bytes,
    k.dram_bytes_source, k.roof_time_ns, k.confidence,
    CASE
      WHEN k.step_id IS NULL THEN '(outside steps)'
      WHEN k.phase IS NULL AND k.kind IS NULL THEN '(step)'
      WHEN k.phase = k.kind THEN k.kind
      ELSE CONCAT_WS(' · ', k.phase, k.kind)
    END AS own_stage,
    REGEXP_REPLACE(k.module, '\.[0-9]+', '.*', 'g') AS module,
    -- One name for an operator and its `.out` variant, and for a Triton kernel whatever number the compiler gave it.
    REGEXP_REPLACE(REGEXP_REPLACE(COALESCE(k.operator, k.kernel), '\.out$', ''), '^(triton_.*)_[0-9]+$', '\1') AS operator,
    CASE
      WHEN k.operator LIKE '%.out' THEN REGEXP_REPLACE(k.shapes, ', \[[^][]*\]\]$', ']')
      ELSE COALESCE(k.shapes, '')
    END AS shapes
  FROM compared_runs c
  JOIN placed_kernels k ON k.run_id = c.run_id
),
run_steps AS (
  SELECT side, own_stage, run_id, COUNT(DISTINCT (rank, step_id)) AS steps, SUM(duration_ns) AS duration_ns
  FROM launched
  GROUP BY side, own_stage, run_id
),
kinds AS (
  SELECT
    side, own_stage, SUM(steps) AS steps, COUNT(*) AS runs,
    ROW_NUMBER() OVER (
      PARTITION BY side ORDER BY own_stage = '(outside steps)', SUM(steps) DESC, SUM(duration_ns) DESC, own_stage
    ) AS place
  FROM run_steps
  GROUP BY side, own_stage
),
-- Kinds of the same name are compared. If the sides share none, the most frequent kind of each is compared.
main_kinds AS (
  SELECT
    MAX(CASE WHEN side = 'base' THEN own_stage END) AS base_stage,
    MAX(CASE WHEN side = 'other' THEN own_stage END) AS other_stage
  FROM kinds
  WHERE place = 1
),
shared AS (
  SELECT COUNT(*) AS kinds
  FROM kinds b
  JOIN kinds o ON o.own_stage = b.own_stage AND o.side = 'other'
  WHERE b.side = 'base' AND (b.own_stage <> '(outside steps)' OR b.place = 1 OR o.place = 1)
),
stages AS (
  SELECT
    k.side, k.own_stage, k.steps, k.runs,
    CASE WHEN s.kinds = 0 AND k.place = 1 THEN m.base_stage || ' → ' || m.other_stage ELSE k.own_stage END AS stage
  FROM kinds k
  CROSS JOIN main_kinds m
  CROSS JOIN shared s
),
with_modules AS (
  SELECT s.stage
  FROM launched l
  JOIN stages s ON s.side = l.side AND s.own_stage = l.own_stage
  GROUP BY s.stage
  HAVING SUM(CASE WHEN l.side = 'base' AND l.module IS NOT NULL THEN l.duration_ns ELSE 0 END)
      >= 0.5 * SUM(CASE WHEN l.side = 'base' THEN l.duration_ns ELSE 0 END)
    AND SUM(CASE WHEN l.side = 'other' AND l.module IS NOT NULL THEN l.duration_ns ELSE 0 END)
      >= 0.5 * SUM(CASE WHEN l.side = 'other' THEN l.duration_ns ELSE 0 END)
),
staged AS (
  SELECT
    l.*, s.stage,
    CASE WHEN w.stage IS NULL THEN '(any module)' ELSE COALESCE(l.module, '(no module)') END AS row_module
  FROM launched l
  JOIN stages s ON s.side = l.side AND s.own_stage = l.own_stage
  LEFT JOIN with_modules w ON w.stage = s.stage
),
-- `sides` is 2 for shapes that both sides have.
shape_sides AS (
  SELECT
    side, stage, row_module, operator, shapes,
    COUNT(*) OVER (PARTITION BY stage, row_module, operator, shapes) AS sides,
    MIN(kernel_id) AS first_launch
  FROM staged
  GROUP BY side, stage, row_module, operator, shapes
),
shape_places AS (
  SELECT
    side, stage, row_module, operator, shapes, sides,
    ROW_NUMBER() OVER (PARTITION BY side, stage, row_module, operator, sides ORDER BY first_launch, shapes) AS place,
    SUM(CASE WHEN side = 'base' THEN 1 ELSE 0 END) OVER (PARTITION BY stage, row_module, operator, sides) AS base_shapes,
    SUM(CASE WHEN side = 'other' THEN 1 ELSE 0 END) OVER (PARTITION BY stage, row_module, operator, sides) AS other_shapes
  FROM shape_sides
),
aligned AS (
  SELECT
    g.*,
    CASE
      WHEN p.sides = 2 OR p.base_shapes = 0 OR p.other_shapes = 0 THEN g.shapes
      WHEN p.base_shapes = p.other_shapes THEN 'place ' || p.place
      ELSE 'all other'
    END AS row_shapes
  FROM staged g
  JOIN shape_places p
    ON p.side = g.side AND p.stage = g.stage AND p.row_module = g.row_module AND p.operator = g.operator
    AND p.shapes = g.shapes
),
levelled AS (
  SELECT
    v.level, a.*,
    CASE WHEN v.level = 'family' THEN a.family ELSE '' END AS key_family,
    CASE WHEN v.level IN ('module', 'row') THEN a.row_module ELSE '' END AS key_module,
    CASE WHEN v.level IN ('operator', 'row') THEN a.operator ELSE '' END AS key_operator,
    CASE WHEN v.level = 'row' THEN a.row_shapes ELSE '' END AS key_shapes
  FROM aligned a
  CROSS JOIN (
    SELECT 'step' AS level UNION ALL SELECT 'family' UNION ALL SELECT 'module' UNION ALL SELECT 'operator' UNION ALL SELECT 'row'
  ) v
),
per_step AS (
  SELECT
    level, stage, key_family, key_module, key_operator, key_shapes, side, own_stage, run_id, rank, step_id,
    SUM(duration_ns) AS duration_ns
  FROM levelled
  GROUP BY ALL
),
per_run AS (
  SELECT
    p.level, p.stage, p.key_family, p.key_module, p.key_operator, p.key_shapes, p.side,
    SUM(p.duration_ns) / ANY_VALUE(r.steps) AS ns_per_step
  FROM per_step p
  JOIN run_steps r ON r.side = p.side AND r.own_stage = p.own_stage AND r.run_id = p.run_id
  GROUP BY p.level, p.stage, p.key_family, p.key_module, p.key_operator, p.key_shapes, p.side, p.run_id
),
-- VAR_POP * COUNT is the sum of squared deviations, which pools over sides.
over_steps AS (
  SELECT
    level, stage, key_family, key_module, key_operator, key_shapes, side,
    COUNT(*) AS step_samples, VAR_POP(duration_ns) * COUNT(*) AS step_squares,
    MIN(duration_ns) AS low_ns, MAX(duration_ns) AS high_ns
  FROM per_step
  GROUP BY ALL
),
over_runs AS (
  SELECT
    level, stage, key_family, key_module, key_operator, key_shapes, side,
    COUNT(*) AS run_samples, AVG(ns_per_step) AS run_mean_ns, VAR_POP(ns_per_step) * COUNT(*) AS run_squares
  FROM per_run
  GROUP BY ALL
),
summed AS (
  SELECT
    l.level, l.stage, l.key_family, l.key_module, l.key_operator, l.key_shapes, l.side,
    ANY_VALUE(s.steps) AS steps,
    ANY_VALUE(s.runs) AS runs,
    ARG_MAX(l.family, l.duration_ns) AS family,
    STRING_AGG(DISTINCT CASE WHEN l.level = 'row' THEN NULLIF(l.shapes, '') END, ' and ' ORDER BY
      CASE WHEN l.level = 'row' THEN NULLIF(l.shapes, '') END) AS shapes,
    STRING_AGG(DISTINCT CASE WHEN l.level IN ('operator', 'row') THEN l.kernel END, '; ' ORDER BY
      CASE WHEN l.level IN ('operator', 'row') THEN l.kernel END) AS kernels,
    COUNT(*) AS launches,
    SUM(l.duration_ns) AS duration_ns,
    SUM(l.flops) AS flops,
    SUM(l.dram_bytes) AS dram_bytes,
    STRING_AGG(DISTINCT l.dram_bytes_source, '+' ORDER BY l.dram_bytes_source) AS dram_bytes_source,
    SUM(l.roof_time_ns) / NULLIF(SUM(CASE WHEN l.roof_time_ns IS NOT NULL THEN l.duration_ns END), 0) AS roof_fraction,
    CASE WHEN COUNT(CASE WHEN l.confidence = 'low' THEN 1 END) > 0 THEN 'low' ELSE 'high' END AS confidence
  FROM levelled l
  JOIN stages s ON s.side = l.side AND s.own_stage = l.own_stage
  GROUP BY l.level, l.stage, l.key_family, l.key_module, l.key_operator, l.key_shapes, l.side
),
-- A row that some runs lack is zero in them: their share adds (mean)^2 each to the squares.
measured AS (
  SELECT s.*, s.duration_ns / s.steps AS ns_per_step,
    t.step_samples, t.step_squares, t.low_ns, t.high_ns, t.step_samples / s.steps AS step_presence,
    s.runs AS run_samples,
    r.run_squares + r.run_samples * (1 - r.run_samples / s.runs) * r.run_mean_ns * r.run_mean_ns AS run_squares
  FROM summed s
  JOIN over_steps t USING (level, stage, key_family, key_module, key_operator, key_shapes, side)
  JOIN over_runs r USING (level, stage, key_family, key_module, key_operator, key_shapes, side)
),
timed AS (
  SELECT
    c.side, t.run_id, t."repeat", t.value_ns,
    COALESCE(s.stage, CASE WHEN t.phase = t.kind THEN t.kind ELSE CONCAT_WS(' · ', t.phase, t.kind) END) AS stage
  FROM compared_runs c
  JOIN timings t ON t.run_id = c.run_id AND t.metric = 'step'
  LEFT JOIN stages s
    ON s.side = c.side
    AND s.own_stage = CASE WHEN t.phase = t.kind THEN t.kind ELSE CONCAT_WS(' · ', t.phase, t.kind) END
),
timed_repeats AS (
  SELECT side, stage, run_id, "repeat", MEDIAN(value_ns) AS ns FROM timed GROUP BY side, stage, run_id, "repeat"
),
timed_runs AS (
  SELECT side, stage, run_id, MEDIAN(value_ns) AS ns FROM timed GROUP BY side, stage, run_id
),
unprofiled AS (
  SELECT
    m.*, p.step_samples, p.step_squares, p.low_ns, p.high_ns, r.run_samples, r.run_squares
  FROM (SELECT side, stage, COUNT(*) AS steps, MEDIAN(value_ns) AS ns_per_step FROM timed GROUP BY side, stage) m
  JOIN (
    SELECT side, stage, COUNT(*) AS step_samples, VAR_POP(ns) * COUNT(*) AS step_squares, MIN(ns) AS low_ns, MAX(ns) AS high_ns
    FROM timed_repeats
    GROUP BY side, stage
  ) p USING (side, stage)
  JOIN (
    SELECT side, stage, COUNT(*) AS run_samples, VAR_POP(ns) * COUNT(*) AS run_squares FROM timed_runs GROUP BY side, stage
  ) r USING (side, stage)
),
sampled AS (
  SELECT
    level, stage, key_family, key_module, key_operator, key_shapes, side, steps, family, shapes, kernels, launches,
    duration_ns, ns_per_step, flops, dram_bytes, dram_bytes_source, roof_fraction, confidence, low_ns, high_ns,
    step_samples, step_squares, step_presence, run_samples, run_squares
  FROM measured
  UNION ALL
  SELECT
    'unprofiled', stage, '', '', '', '', side, steps, NULL, NULL, NULL, NULL, NULL, ns_per_step, NULL, NULL, NULL, NULL,
    NULL, low_ns, high_ns, step_samples, step_squares, 1, run_samples, run_squares
  FROM unprofiled
),
clocks AS (
  SELECT c.side, MEDIAN(t.sm_clock_hz) AS sm_clock_hz
  FROM compared_runs c
  JOIN telemetry t ON t.run_id = c.run_id
  GROUP BY c.side
),
joined AS (
  SELECT
    level, stage, key_family, key_module, key_operator, key_shapes,
    COALESCE(o.family, b.family) AS family,
    COALESCE(b.steps, bs.steps) AS base_steps,
    COALESCE(o.steps, os.steps) AS other_steps,
    b.shapes AS base_shapes, o.shapes AS other_shapes, b.kernels AS base_kernels, o.kernels AS other_kernels,
    b.launches AS base_launches, o.launches AS other_launches,
    b.duration_ns AS base_duration_ns, o.duration_ns AS other_duration_ns,
    b.ns_per_step AS base_ns_per_step, o.ns_per_step AS other_ns_per_step,
    b.low_ns AS base_low_ns, b.high_ns AS base_high_ns, o.low_ns AS other_low_ns, o.high_ns AS other_high_ns,
    COALESCE(o.ns_per_step, 0) - COALESCE(b.ns_per_step, 0) AS delta_ns_per_step,
    b.flops AS base_flops, o.flops AS other_flops, b.dram_bytes AS base_bytes, o.dram_bytes AS other_bytes,
    b.dram_bytes_source AS base_bytes_source, o.dram_bytes_source AS other_bytes_source,
    b.roof_fraction AS base_roof_fraction, o.roof_fraction AS other_roof_fraction,
    b.confidence AS base_confidence, o.confidence AS other_confidence,
    CASE
      WHEN b.run_samples > 1 AND o.run_samples > 1 THEN 'runs'
      WHEN b.step_samples > 1 AND o.step_samples > 1 THEN 'steps'
      WHEN b.side IS NOT NULL AND o.side IS NOT NULL THEN 'unknown'
    END AS noise_basis,
    CASE WHEN level IN ('unprofiled', 'step') THEN 0.01 * b.ns_per_step
      ELSE GREATEST(0.03 * b.ns_per_step, 100 * b.launches / b.steps) END AS floor_ns,
    b.run_samples + o.run_samples - 2 AS run_freedom,
    (b.run_squares + o.run_squares) / NULLIF(b.run_samples + o.run_samples - 2, 0)
      * (1 / b.run_samples + 1 / o.run_samples) AS run_variance,
    b.step_samples + o.step_samples - 2 AS step_freedom,
    (b.step_squares + o.step_squares) / NULLIF(b.step_samples + o.step_samples - 2, 0)
      * (b.step_presence * b.step_presence / b.step_samples + o.step_presence * o.step_presence / o.step_samples)
      AS step_variance
  FROM (SELECT * FROM sampled WHERE side = 'base') b
  FULL JOIN (SELECT * FROM sampled WHERE side = 'other') o
    USING (level, stage, key_family, key_module, key_operator, key_shapes)
  LEFT JOIN (SELECT stage, steps FROM stages WHERE side = 'base') bs USING (stage)
  LEFT JOIN (SELECT stage, steps FROM stages WHERE side = 'other') os USING (stage)
),
-- The factors are Student's t, both tails 1 %, for the fewest degrees of freedom of each branch.
bounded AS (
  SELECT
    j.*,
    CASE noise_basis
      WHEN 'unknown' THEN GREATEST(0.05 * base_ns_per_step, 200 * COALESCE(base_launches, 0) / base_steps)
      WHEN 'runs' THEN SQRT(run_variance) * CASE
        WHEN run_freedom < 3 THEN 9.92 WHEN run_freedom < 4 THEN 5.84 WHEN run_freedom < 6 THEN 4.60
        WHEN run_freedom < 10 THEN 3.71 WHEN run_freedom < 30 THEN 3.17 ELSE 2.75 END
      WHEN 'steps' THEN GREATEST(floor_ns, SQRT(step_variance) * CASE
        WHEN step_freedom < 3 THEN 9.92 WHEN step_freedom < 4 THEN 5.84 WHEN step_freedom < 6 THEN 4.60
        WHEN step_freedom < 10 THEN 3.71 WHEN step_freedom < 30 THEN 3.17 ELSE 2.75 END)
    END AS noise_ns
  FROM joined j
),
judged AS (
  SELECT
    b.*,
    CASE
      WHEN base_ns_per_step IS NULL THEN 'added'
      WHEN other_ns_per_step IS NULL THEN 'gone'
      WHEN ABS(delta_ns_per_step) <= noise_ns THEN 'same'
      WHEN delta_ns_per_step > 0 THEN 'slower'
      ELSE 'faster'
    END AS status,
    base_bytes / NULLIF(base_steps, 0) AS base_bytes_per_step,
    other_bytes / NULLIF(other_steps, 0) AS other_bytes_per_step,
    base_flops / NULLIF(base_steps, 0) AS base_flops_per_step,
    other_flops / NULLIF(other_steps, 0) AS other_flops_per_step,
    base_launches / NULLIF(base_steps, 0) AS base_launches_per_step,
    other_launches / NULLIF(other_steps, 0) AS other_launches_per_step,
    base_kernels = other_kernels AND COALESCE(base_shapes, '') = COALESCE(other_shapes, '') AS like_for_like,
    base_bytes_source = other_bytes_source AS like_bytes
  FROM bounded b
)
SELECT
  j.level, j.stage,
  CASE WHEN j.level NOT IN ('unprofiled', 'step') THEN j.family END AS family,
  NULLIF(j.key_module, '') AS module,
  NULLIF(j.key_operator, '') AS operator,
  j.base_shapes, j.other_shapes, j.status,
  j.base_ns_per_step, j.other_ns_per_step, j.delta_ns_per_step,
  j.delta_ns_per_step / NULLIF(j.base_ns_per_step, 0) AS change,
  j.delta_ns_per_step / NULLIF(SUM(j.delta_ns_per_step) OVER (PARTITION BY j.level, j.stage), 0) AS share_of_change,
  j.noise_ns, j.noise_basis,
  CASE WHEN j.status IN ('added', 'gone') AND j.key_operator LIKE 'triton%fused%_' THEN
    NULLIF('fuses ' || REGEXP_REPLACE(j.key_operator, '^triton_[a-z]+_fused_?', ''), 'fuses ')
  WHEN j.status IN ('faster', 'slower') AND j.level <> 'unprofiled' THEN NULLIF(CONCAT_WS(', ',
    CASE WHEN COALESCE(j.base_shapes, '') <> COALESCE(j.other_shapes, '') THEN 'other shapes' END,
    CASE
      WHEN j.other_launches_per_step > j.base_launches_per_step THEN 'more launches'
      WHEN j.other_launches_per_step < j.base_launches_per_step THEN 'fewer launches'
    END,
    CASE WHEN j.base_kernels <> j.other_kernels THEN 'other kernels' END,
    CASE
      WHEN j.other_flops_per_step > 1.01 * j.base_flops_per_step THEN 'more FLOPs'
      WHEN j.other_flops_per_step < 0.99 * j.base_flops_per_step THEN 'fewer FLOPs'
    END,
    CASE
      WHEN NOT j.like_bytes THEN NULL
      WHEN j.other_bytes_per_step > 1.01 * j.base_bytes_per_step THEN 'more bytes'
      WHEN j.other_bytes_per_step < 0.99 * j.base_bytes_per_step THEN 'fewer bytes'
    END,
    CASE
      WHEN j.other_roof_fraction > 1.02 * j.base_roof_fraction THEN 'closer to the roof'
      WHEN j.other_roof_fraction < 0.98 * j.base_roof_fraction THEN 'further from the roof'
    END,
    CASE
      WHEN j.like_for_like AND j.delta_ns_per_step > 0 AND oc.sm_clock_hz < 0.99 * bc.sm_clock_hz THEN 'lower clock'
      WHEN j.like_for_like AND j.delta_ns_per_step < 0 AND oc.sm_clock_hz > 1.01 * bc.sm_clock_hz THEN 'higher clock'
    END
  ), '') END AS why,
  j.base_low_ns, j.base_high_ns, j.other_low_ns, j.other_high_ns,
  j.base_steps, j.other_steps, j.base_duration_ns, j.other_duration_ns,
  j.base_launches_per_step, j.other_launches_per_step,
  j.base_flops_per_step, j.other_flops_per_step,
  j.base_bytes_per_step, j.other_bytes_per_step, j.base_bytes_source, j.other_bytes_source,
  j.base_roof_fraction, j.other_roof_fraction, j.base_confidence, j.other_confidence,
  j.base_kernels, j.other_kernels
FROM judged j
LEFT JOIN clocks bc ON bc.side = 'base'
LEFT JOIN clocks oc ON oc.side = 'other'
ORDER BY
  CASE j.level WHEN 'unprofiled' THEN 0 WHEN 'step' THEN 1 WHEN 'family' THEN 2 WHEN 'module' THEN 3 WHEN 'operator' THEN 4 ELSE 5 END,
  j.stage, ABS(j.delta_ns_per_step) DESC, j.key_module, j.key_operator, j.key_shapes, j.key_family
