-- The differences between two groups of runs, base and other, for one unit of work. The unit is the first that both sides
-- have; times, launches, FLOPs and bytes are means per unit:
--   step       a labelled step; its kind (phase and kind) is the stage
--   iteration  a ProfilerStep. The stage (iteration) is all of it; forward, backward and so on are stages of their own
--   work       no steps, but both sides launched every operator and shape in the same proportion: the recording of a base run
--   second     anything else: a second of trace, which tells how the time divides, not how fast the program is
-- Work outside steps counts per step or iteration too.
-- The levels of rows; from `step` on, the rows of a stage sum to its device time:
--   generation  wall time of a whole generation without the profiler: the median over repeats, of runs with several; the stage
--               is (generation)
--   unprofiled  wall time without the profiler: the median; its samples are the medians of the repeats, or of a run without
--               repeats its steps
--   wall        wall time under the profiler: from the begin of a step, or the end of the step before if that is later, until
--               host and device are done
--   idle        time of the step in which the device ran nothing
--   step        device time
--   family, module (instances summed), operator, kernel, and row: operator and shapes within a module
-- Rows align by operator, module and shapes; kernels stand in for operators if a side names operators for less than half of a
-- stage's time, as replayed graphs do. Rows align by module only if both sides name modules for at least half. Shapes of an operator that
-- both sides have align with themselves. The others align in the order of their first launch if both sides have equally
-- many, otherwise all together.
-- noise_ns is half the width of a 99 % interval of the difference (Student's t, pooled variance): over runs if both sides
-- have several, otherwise over units (unprofiled: over repeats). Two runs of one program differ by more than their steps do,
-- so noise over steps is at least 1 % of a step; 3 % of a part, or 100 ns a launch; and 5 % of traced wall time, since the
-- host varies most, and of a run without repeats, whose steps follow each other. With a single sample on a side noise is unknown, and assumed to be 5 % of a step or a part, 200 ns a
-- launch, 10 % of traced wall time. A base within the noise of 0 has no relative change.
-- Idle time, and time per second of trace, is more or less, not slower or faster.
WITH compared_runs AS (
  SELECT 'base' AS side, run_id FROM runs WHERE LIST_CONTAINS($base, run_id)
  UNION ALL
  SELECT 'other' AS side, run_id FROM runs WHERE LIST_CONTAINS($other, run_id)
),
-- A whole trace without labels is stored as one step of the kind trace, which is no unit of work.
run_steps AS (
  SELECT
    c.side, s.run_id, s.rank, s.step_id, s.phase, s.kind, s.idle_ns, s.end_ns,
    s.host_start_ns AS begin_ns, s.host_start_ns + s.host_duration_ns AS host_end_ns,
    (s.phase IS NOT NULL OR s.kind IS NOT NULL) AND COALESCE(s.kind, '') <> 'trace' AS labelled,
    COALESCE(s.iteration, CASE WHEN s.phase IS NULL AND s.kind IS NULL THEN s.step END) AS iteration
  FROM compared_runs c
  JOIN steps s ON s.run_id = c.run_id
),
-- Launches of a step that agree in all that rows tell apart are one group: a step of a model repeats its layers.
launched AS MATERIALIZED (
  SELECT
    c.side, k.run_id, k.rank, k.family, k.dram_bytes_source, k.confidence, k.phase, k.kernel, k.cause, k.diagnosis,
    k.operator IS NOT NULL AS has_operator,
    COUNT(*) AS launches, MIN(k.kernel_id) AS first_kernel_id, SUM(k.duration_ns) AS duration_ns, SUM(k.flops) AS flops,
    SUM(k.dram_bytes) AS dram_bytes, SUM(k.roof_time_ns) AS roof_time_ns,
    SUM(CASE WHEN k.roof_time_ns IS NOT NULL THEN k.duration_ns END) AS roofed_ns,
    s.step_id, s.kind, s.iteration, COALESCE(s.labelled, FALSE) AS labelled,
    m.all_layers AS module,
    -- One name for an operator and its `.out` variant, and for a Triton kernel whatever number the compiler gave it.
    REGEXP_REPLACE(REGEXP_REPLACE(COALESCE(k.operator, k.kernel), '\.out$', ''), '^(triton_.*)_[0-9]+$', '\1') AS operator,
    REGEXP_REPLACE(k.kernel, '^(triton_.*)_[0-9]+$', '\1') AS kernel_key,
    CASE
      WHEN k.operator LIKE '%.out' THEN REGEXP_REPLACE(k.shapes, ', \[[^][]*\]\]$', ']')
      ELSE COALESCE(k.shapes, '')
    END AS shapes
  FROM compared_runs c
  JOIN placed_kernels k ON k.run_id = c.run_id
  LEFT JOIN run_steps s ON s.side = c.side AND s.run_id = k.run_id AND s.step_id = k.step_id
  LEFT JOIN module_layers m ON m.run_id = k.run_id AND m.module = k.module
  GROUP BY ALL
),
-- True if every operator and shape has the same share of the launches of both sides.
proportional AS (
  SELECT BOOL_AND(base * others = other * bases) AS equal
  FROM (
    SELECT
      base, SUM(base) OVER () AS bases, other, SUM(other) OVER () AS others
    FROM (
      SELECT
        SUM(CASE WHEN side = 'base' THEN launches ELSE 0 END) AS base,
        SUM(CASE WHEN side = 'other' THEN launches ELSE 0 END) AS other
      FROM launched
      GROUP BY operator, shapes
    )
  )
),
chosen AS (
  SELECT
    CASE
      WHEN COUNT(DISTINCT CASE WHEN labelled THEN side END) = 2 THEN 'step'
      WHEN COUNT(DISTINCT CASE WHEN iteration IS NOT NULL THEN side END) = 2 THEN 'iteration'
      WHEN ANY_VALUE(p.equal) THEN 'work'
      ELSE 'second'
    END AS unit,
    COUNT(DISTINCT CASE WHEN iteration IS NOT NULL AND phase IS NOT NULL THEN side END) = 2 AS has_phases
  FROM launched
  CROSS JOIN proportional p
),
-- The unit that each kernel belongs to, and its stage before stages of both sides are paired.
united AS (
  SELECT
    l.*,
    CASE c.unit WHEN 'step' THEN l.step_id WHEN 'iteration' THEN l.iteration ELSE 0 END AS unit_id,
    CASE
      WHEN c.unit NOT IN ('step', 'iteration') THEN '(trace)'
      WHEN c.unit = 'iteration' AND l.iteration IS NOT NULL THEN '(iteration)'
      WHEN c.unit = 'iteration' OR l.step_id IS NULL THEN '(outside steps)'
      WHEN NOT l.labelled THEN '(step)'
      WHEN l.phase = l.kind THEN l.kind
      ELSE CONCAT_WS(' · ', l.phase, l.kind)
    END AS own_stage
  FROM launched l
  CROSS JOIN chosen c
),
phased AS (
  SELECT * FROM united
  UNION ALL
  SELECT u.* REPLACE (COALESCE(u.phase, '(no phase)') AS own_stage)
  FROM united u
  JOIN chosen c ON c.unit = 'iteration' AND c.has_phases
  WHERE u.own_stage = '(iteration)'
),
-- The units of each run: of all kinds together, and of a kind.
run_units AS (
  SELECT
    l.side, l.run_id,
    CASE c.unit
      WHEN 'second' THEN ANY_VALUE(t.wall_ns) / 1e9
      WHEN 'work' THEN SUM(l.launches) / ANY_VALUE(w.launches)
      ELSE GREATEST(COUNT(DISTINCT CASE WHEN unit_id IS NOT NULL THEN (l.rank, unit_id) END), 1)
    END AS units,
    ANY_VALUE(t.wall_ns) AS wall_ns, ANY_VALUE(t.idle_ns) AS idle_ns
  FROM united l
  CROSS JOIN chosen c
  CROSS JOIN (SELECT SUM(launches) / COUNT(DISTINCT run_id) AS launches FROM launched WHERE side = 'base') w
  LEFT JOIN (
    SELECT run_id, MAX(end_ns) - MIN(start_ns) AS wall_ns, AVG(idle_ns) AS idle_ns FROM device_timeline GROUP BY run_id
  ) t ON t.run_id = l.run_id
  GROUP BY l.side, l.run_id, c.unit
),
stage_units AS (
  SELECT
    p.side, p.own_stage, p.run_id, SUM(p.duration_ns) AS duration_ns,
    CASE WHEN c.unit = 'step' AND p.own_stage <> '(outside steps)' THEN COUNT(DISTINCT (p.rank, p.unit_id))
      ELSE ANY_VALUE(r.units) END AS units
  FROM phased p
  CROSS JOIN chosen c
  JOIN run_units r ON r.side = p.side AND r.run_id = p.run_id
  GROUP BY p.side, p.own_stage, p.run_id, c.unit
),
kinds AS (
  SELECT
    side, own_stage, SUM(units) AS units, COUNT(*) AS runs,
    ROW_NUMBER() OVER (
      PARTITION BY side ORDER BY own_stage = '(outside steps)', SUM(units) DESC, SUM(duration_ns) DESC, own_stage
    ) AS place
  FROM stage_units
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
    k.side, k.own_stage, k.units, k.runs,
    CASE WHEN s.kinds = 0 AND k.place = 1 THEN m.base_stage || ' → ' || m.other_stage ELSE k.own_stage END AS stage
  FROM kinds k
  CROSS JOIN main_kinds m
  CROSS JOIN shared s
),
-- What both sides name for at least half of a stage's time; a stage of one side is named as that side names it.
named AS (
  SELECT stage, MIN(modules) >= 0.5 AS by_module, MIN(operators) >= 0.5 AS by_operator
  FROM (
    SELECT
      s.stage, s.side,
      SUM(CASE WHEN p.module IS NOT NULL THEN p.duration_ns ELSE 0 END) / NULLIF(SUM(p.duration_ns), 0) AS modules,
      SUM(CASE WHEN p.has_operator THEN p.duration_ns ELSE 0 END) / NULLIF(SUM(p.duration_ns), 0) AS operators
    FROM phased p
    JOIN stages s ON s.side = p.side AND s.own_stage = p.own_stage
    GROUP BY s.stage, s.side
  )
  GROUP BY stage
),
staged AS (
  SELECT
    p.* EXCLUDE (operator, module, shapes), s.stage,
    NOT COALESCE(n.by_operator, TRUE) AS by_kernel,
    CASE WHEN n.by_module THEN COALESCE(p.module, '(no module)') ELSE '(any module)' END AS module,
    CASE WHEN by_kernel THEN p.kernel_key ELSE p.operator END AS operator,
    CASE WHEN by_kernel THEN '' ELSE p.shapes END AS shapes
  FROM phased p
  JOIN stages s ON s.side = p.side AND s.own_stage = p.own_stage
  JOIN named n ON n.stage = s.stage
),
-- `sides` is 2 for shapes that both sides have.
shape_sides AS (
  SELECT
    side, stage, module, operator, shapes,
    COUNT(*) OVER (PARTITION BY stage, module, operator, shapes) AS sides,
    MIN(first_kernel_id) AS first_launch
  FROM staged
  GROUP BY side, stage, module, operator, shapes
),
shape_places AS (
  SELECT
    side, stage, module, operator, shapes, sides,
    ROW_NUMBER() OVER (PARTITION BY side, stage, module, operator, sides ORDER BY first_launch, shapes) AS place,
    SUM(CASE WHEN side = 'base' THEN 1 ELSE 0 END) OVER (PARTITION BY stage, module, operator, sides) AS base_shapes,
    SUM(CASE WHEN side = 'other' THEN 1 ELSE 0 END) OVER (PARTITION BY stage, module, operator, sides) AS other_shapes
  FROM shape_sides
),
-- Each group once for each level; `key` is what rows of the level align by.
levelled AS MATERIALIZED (
  SELECT
    v.level, a.*,
    CASE v.level
      WHEN 'family' THEN [a.family]
      WHEN 'module' THEN [a.module]
      WHEN 'operator' THEN [a.operator]
      WHEN 'kernel' THEN [a.kernel_key]
      WHEN 'row' THEN [a.module, a.operator, CASE
        WHEN p.sides = 2 OR p.base_shapes = 0 OR p.other_shapes = 0 THEN a.shapes
        WHEN p.base_shapes = p.other_shapes THEN 'place ' || p.place
        ELSE 'all other'
      END]
      ELSE []
    END AS key
  FROM staged a
  JOIN shape_places p USING (side, stage, module, operator, shapes)
  CROSS JOIN (SELECT UNNEST(['step', 'family', 'module', 'operator', 'kernel', 'row']) AS level) v
),
per_unit AS (
  SELECT
    l.level, l.stage, l.key, l.side, l.own_stage, l.run_id, l.rank, l.unit_id,
    -- a whole trace, and all that is outside steps, is one sample of the mean
    SUM(l.duration_ns) / CASE WHEN l.stage IN ('(trace)', '(outside steps)') THEN ANY_VALUE(u.units) ELSE 1 END AS duration_ns,
    ANY_VALUE(u.units) AS units
  FROM levelled l
  JOIN stage_units u ON u.side = l.side AND u.own_stage = l.own_stage AND u.run_id = l.run_id
  GROUP BY l.level, l.stage, l.key, l.side, l.own_stage, l.run_id, l.rank, l.unit_id
),
per_run AS (
  SELECT
    level, stage, key, side,
    SUM(duration_ns) / CASE WHEN stage IN ('(trace)', '(outside steps)') THEN 1 ELSE ANY_VALUE(units) END AS ns_per_unit
  FROM per_unit
  GROUP BY level, stage, key, side, run_id
),
-- VAR_POP * COUNT is the sum of squared deviations, which pools over sides.
over_units AS (
  SELECT
    level, stage, key, side, COUNT(*) AS unit_samples, VAR_POP(duration_ns) * COUNT(*) AS unit_squares,
    MIN(duration_ns) AS low_ns, MAX(duration_ns) AS high_ns
  FROM per_unit
  GROUP BY ALL
),
over_runs AS (
  SELECT
    level, stage, key, side, COUNT(*) AS run_samples, AVG(ns_per_unit) AS run_mean_ns,
    VAR_POP(ns_per_unit) * COUNT(*) AS run_squares
  FROM per_run
  GROUP BY ALL
),
summed AS (
  SELECT
    l.level, l.stage, l.key, l.side,
    ANY_VALUE(s.units) AS units,
    ANY_VALUE(s.runs) AS runs,
    ANY_VALUE(l.by_kernel) AS by_kernel,
    ARG_MAX(l.family, l.duration_ns) AS family,
    STRING_AGG(DISTINCT CASE WHEN l.level = 'row' THEN NULLIF(l.shapes, '') END, ' and ' ORDER BY
      CASE WHEN l.level = 'row' THEN NULLIF(l.shapes, '') END) AS shapes,
    STRING_AGG(DISTINCT CASE WHEN l.level IN ('operator', 'kernel', 'row') THEN l.kernel END, '; ' ORDER BY
      CASE WHEN l.level IN ('operator', 'kernel', 'row') THEN l.kernel END) AS kernels,
    SUM(l.launches) AS launches,
    SUM(l.duration_ns) AS duration_ns,
    SUM(l.flops) AS flops,
    SUM(l.dram_bytes) AS dram_bytes,
    STRING_AGG(DISTINCT l.dram_bytes_source, '+' ORDER BY l.dram_bytes_source) AS dram_bytes_source,
    SUM(l.roof_time_ns) / NULLIF(SUM(l.roofed_ns), 0) AS roof_fraction,
    CASE WHEN COUNT(CASE WHEN l.confidence = 'low' THEN 1 END) > 0 THEN 'low' ELSE 'high' END AS confidence
  FROM levelled l
  JOIN stages s ON s.side = l.side AND s.own_stage = l.own_stage
  GROUP BY l.level, l.stage, l.key, l.side
),
-- The diagnosis of a row is that of the cause of at least half of its time; another would be a minority's. Of a cause with
-- several texts, as of several grids, the longest kernels' is an example.
diagnosed AS (
  SELECT
    level, stage, key, side,
    CASE
      WHEN share >= 0.995 AND texts = 1 THEN diagnosis
      WHEN share >= 0.5
        THEN FORMAT('{:.0f} % of its time{}: {}', 100 * share, CASE WHEN texts > 1 THEN ', for example' ELSE '' END, diagnosis)
    END AS diagnosis
  FROM (
    SELECT
      level, stage, key, side, COALESCE(cause, diagnosis) AS reason, COUNT(DISTINCT diagnosis) AS texts,
      ARG_MAX(diagnosis, (duration_ns, diagnosis)) AS diagnosis,
      SUM(duration_ns) / NULLIF(SUM(SUM(duration_ns)) OVER (PARTITION BY level, stage, key, side), 0) AS share
    FROM levelled
    WHERE level IN ('operator', 'kernel', 'row')
    GROUP BY level, stage, key, side, reason
  )
  WHERE reason IS NOT NULL
  QUALIFY ROW_NUMBER() OVER (PARTITION BY level, stage, key, side ORDER BY share DESC, diagnosis) = 1
),
-- A row that some runs lack is zero in them: their share adds (mean)^2 each to the squares.
measured AS (
  SELECT
    s.*, s.duration_ns / s.units AS ns_per_unit, s.launches / s.units AS launches_per_unit,
    t.unit_samples, t.unit_squares, t.low_ns, t.high_ns, LEAST(t.unit_samples / s.units, 1) AS unit_presence,
    s.runs AS run_samples,
    r.run_squares + r.run_samples * (1 - r.run_samples / s.runs) * r.run_mean_ns * r.run_mean_ns AS run_squares,
    CASE WHEN level = 'step' THEN 0.01 * ns_per_unit ELSE GREATEST(0.03 * ns_per_unit, 100 * launches_per_unit) END AS floor_ns,
    GREATEST(0.05 * ns_per_unit, 200 * launches_per_unit) AS assumed_ns, d.diagnosis
  FROM summed s
  JOIN over_units t USING (level, stage, key, side)
  JOIN over_runs r USING (level, stage, key, side)
  LEFT JOIN diagnosed d USING (level, stage, key, side)
),
-- Windows of steps or iterations that have device work: host and device are done at done_ns.
windows AS (
  SELECT
    s.side, s.run_id, s.rank, MIN(s.begin_ns) AS begin_ns, GREATEST(MAX(s.host_end_ns), MAX(s.end_ns)) AS done_ns,
    SUM(s.idle_ns) AS idle_ns,
    CASE
      WHEN c.unit = 'iteration' THEN '(iteration)'
      WHEN NOT ANY_VALUE(s.labelled) THEN '(step)'
      WHEN ANY_VALUE(s.phase) = ANY_VALUE(s.kind) THEN ANY_VALUE(s.kind)
      ELSE CONCAT_WS(' · ', ANY_VALUE(s.phase), ANY_VALUE(s.kind))
    END AS own_stage
  FROM run_steps s
  JOIN chosen c ON c.unit = 'step' OR (c.unit = 'iteration' AND s.iteration IS NOT NULL)
  WHERE s.end_ns IS NOT NULL
  GROUP BY s.side, s.run_id, s.rank, c.unit, CASE c.unit WHEN 'step' THEN s.step_id ELSE s.iteration END
),
spans AS (
  SELECT
    side, own_stage, run_id, idle_ns,
    done_ns - GREATEST(begin_ns, COALESCE(
      LAG(done_ns) OVER (PARTITION BY side, run_id, rank ORDER BY done_ns, begin_ns DESC), begin_ns
    )) AS wall_ns
  FROM windows
  UNION ALL
  SELECT r.side, '(trace)', r.run_id, r.idle_ns / r.units, CASE WHEN c.unit = 'work' THEN r.wall_ns / r.units END
  FROM run_units r
  JOIN chosen c ON c.unit IN ('work', 'second')
),
repeated AS (
  SELECT t.run_id, COUNT(DISTINCT t."repeat") > 1 AS repeats
  FROM compared_runs c
  JOIN timings t ON t.run_id = c.run_id AND t.metric = 'step'
  GROUP BY t.run_id
),
-- Times of whole units, one value a sample: repeats without the profiler, units under it.
timed AS (
  SELECT
    'unprofiled' AS level, c.side, t.run_id, CASE WHEN n.repeats THEN t."repeat" ELSE t.step END AS sample, t.value_ns AS ns,
    NULL AS wall_ns, n.repeats,
    CASE
      WHEN t.phase IS NULL AND t.kind IS NULL THEN CASE WHEN u.unit = 'iteration' THEN '(iteration)' ELSE '(step)' END
      WHEN t.phase = t.kind THEN t.kind
      ELSE CONCAT_WS(' · ', t.phase, t.kind)
    END AS own_stage
  FROM compared_runs c
  CROSS JOIN chosen u
  JOIN timings t ON t.run_id = c.run_id AND t.metric = 'step'
  JOIN repeated n ON n.run_id = c.run_id
  UNION ALL
  SELECT 'generation', c.side, t.run_id, t."repeat", t.value_ns, NULL, TRUE, '(generation)'
  FROM compared_runs c
  JOIN timings t ON t.run_id = c.run_id AND t.metric = 'end_to_end'
  JOIN repeated n ON n.run_id = c.run_id AND n.repeats
  UNION ALL
  SELECT 'wall', side, run_id, ROW_NUMBER() OVER (ORDER BY side, run_id), wall_ns, wall_ns, TRUE, own_stage FROM spans
  UNION ALL
  SELECT 'idle', side, run_id, ROW_NUMBER() OVER (ORDER BY side, run_id), idle_ns, wall_ns, TRUE, own_stage FROM spans
),
timed_stages AS (
  SELECT t.*, COALESCE(s.stage, t.own_stage) AS stage
  FROM timed t
  LEFT JOIN stages s ON s.side = t.side AND s.own_stage = t.own_stage
  WHERE t.ns IS NOT NULL
),
timed_samples AS (
  SELECT level, side, stage, run_id, sample, MEDIAN(ns) AS ns FROM timed_stages GROUP BY ALL
),
timed_runs AS (
  SELECT level, side, stage, run_id, CASE WHEN level IN ('generation', 'unprofiled') THEN MEDIAN(ns) ELSE AVG(ns) END AS ns
  FROM timed_stages
  GROUP BY level, side, stage, run_id
),
-- Repeats vary around their median; of traced units every one counts.
whole AS (
  SELECT
    m.*, p.unit_samples, p.unit_squares, p.low_ns, p.high_ns, r.run_samples, r.run_squares,
    CASE
      WHEN level IN ('generation', 'unprofiled') THEN CASE WHEN repeats THEN 0.01 ELSE 0.05 END * ns_per_unit
      ELSE 0.05 * COALESCE(wall_ns, ns_per_unit)
    END AS floor_ns,
    CASE WHEN level IN ('generation', 'unprofiled') THEN 0.05 * ns_per_unit ELSE 0.1 * COALESCE(wall_ns, ns_per_unit) END AS assumed_ns
  FROM (
    SELECT
      level, side, stage, COUNT(*) AS units, AVG(wall_ns) AS wall_ns,
      BOOL_AND(BOOL_AND(repeats)) OVER (PARTITION BY level, stage) AS repeats,
      CASE WHEN level IN ('generation', 'unprofiled') THEN MEDIAN(ns) ELSE AVG(ns) END AS ns_per_unit
    FROM timed_stages
    GROUP BY level, side, stage
  ) m
  JOIN (
    SELECT
      level, side, stage, COUNT(*) AS unit_samples, VAR_POP(ns) * COUNT(*) AS unit_squares, MIN(ns) AS low_ns, MAX(ns) AS high_ns
    FROM timed_samples
    GROUP BY level, side, stage
  ) p USING (level, side, stage)
  JOIN (
    SELECT level, side, stage, COUNT(*) AS run_samples, VAR_POP(ns) * COUNT(*) AS run_squares
    FROM timed_runs
    GROUP BY level, side, stage
  ) r USING (level, side, stage)
),
sampled AS (
  SELECT * EXCLUDE (runs) FROM measured
  UNION ALL BY NAME
  SELECT * EXCLUDE (wall_ns, repeats), CAST([] AS VARCHAR[]) AS key, 1 AS unit_presence FROM whole
),
clocks AS (
  SELECT c.side, MEDIAN(t.sm_clock_hz) AS sm_clock_hz
  FROM compared_runs c
  JOIN telemetry t ON t.run_id = c.run_id
  GROUP BY c.side
),
joined AS (
  SELECT
    level, stage, key,
    COALESCE(o.family, b.family) AS family,
    COALESCE(o.by_kernel, b.by_kernel, FALSE) AS by_kernel,
    COALESCE(b.units, bs.units) AS base_units,
    COALESCE(o.units, os.units) AS other_units,
    COLUMNS(b.* EXCLUDE (level, stage, key, side, units, family, by_kernel)) AS 'base_\0',
    COLUMNS(o.* EXCLUDE (level, stage, key, side, units, family, by_kernel)) AS 'other_\0',
    COALESCE(o.ns_per_unit, 0) - COALESCE(b.ns_per_unit, 0) AS delta_ns,
    CASE
      WHEN b.run_samples > 1 AND o.run_samples > 1 THEN 'runs'
      WHEN b.unit_samples > 1 AND o.unit_samples > 1 THEN 'steps'
      WHEN b.side IS NOT NULL AND o.side IS NOT NULL THEN 'unknown'
    END AS noise_basis,
    b.run_samples + o.run_samples - 2 AS run_freedom,
    (b.run_squares + o.run_squares) / NULLIF(run_freedom, 0) * (1 / b.run_samples + 1 / o.run_samples) AS run_variance,
    b.unit_samples + o.unit_samples - 2 AS unit_freedom,
    (b.unit_squares + o.unit_squares) / NULLIF(unit_freedom, 0)
      * (b.unit_presence * b.unit_presence / b.unit_samples + o.unit_presence * o.unit_presence / o.unit_samples)
      AS unit_variance
  FROM (SELECT * FROM sampled WHERE side = 'base') b
  FULL JOIN (SELECT * FROM sampled WHERE side = 'other') o USING (level, stage, key)
  LEFT JOIN (SELECT stage, units FROM stages WHERE side = 'base') bs USING (stage)
  LEFT JOIN (SELECT stage, units FROM stages WHERE side = 'other') os USING (stage)
),
-- The factors are Student's t, both tails 1 %, for the fewest degrees of freedom of each branch.
bounded AS (
  SELECT
    j.*,
    CASE noise_basis
      WHEN 'unknown' THEN base_assumed_ns
      WHEN 'runs' THEN SQRT(run_variance) * CASE
        WHEN run_freedom < 3 THEN 9.92 WHEN run_freedom < 4 THEN 5.84 WHEN run_freedom < 6 THEN 4.60
        WHEN run_freedom < 10 THEN 3.71 WHEN run_freedom < 30 THEN 3.17 ELSE 2.75 END
      WHEN 'steps' THEN GREATEST(base_floor_ns, SQRT(unit_variance) * CASE
        WHEN unit_freedom < 3 THEN 9.92 WHEN unit_freedom < 4 THEN 5.84 WHEN unit_freedom < 6 THEN 4.60
        WHEN unit_freedom < 10 THEN 3.71 WHEN unit_freedom < 30 THEN 3.17 ELSE 2.75 END)
    END AS noise_ns
  FROM joined j
),
judged AS (
  SELECT
    b.*, c.unit,
    CASE WHEN level IN ('operator', 'kernel') THEN key[1] WHEN level = 'row' THEN key[2] END AS operator,
    CASE
      WHEN base_ns_per_unit IS NULL THEN 'added'
      WHEN other_ns_per_unit IS NULL THEN 'gone'
      WHEN ABS(delta_ns) <= noise_ns THEN 'same'
      WHEN c.unit = 'second' OR level = 'idle' THEN CASE WHEN delta_ns > 0 THEN 'more' ELSE 'less' END
      WHEN delta_ns > 0 THEN 'slower'
      ELSE 'faster'
    END AS status,
    base_flops / base_units AS base_flops_per_unit, other_flops / other_units AS other_flops_per_unit,
    base_dram_bytes / base_units AS base_bytes_per_unit, other_dram_bytes / other_units AS other_bytes_per_unit,
    MAX(CASE WHEN level = 'step' AND ABS(delta_ns) <= noise_ns THEN 1 ELSE 0 END) OVER (PARTITION BY stage) = 1 AS within_noise,
    base_kernels = other_kernels AND COALESCE(base_shapes, '') = COALESCE(other_shapes, '') AS like_for_like,
    base_dram_bytes_source = other_dram_bytes_source AS like_bytes
  FROM bounded b
  CROSS JOIN chosen c
)
SELECT
  j.level, j.stage, j.unit,
  CASE WHEN j.level IN ('family', 'module', 'operator', 'kernel', 'row') THEN j.family END AS family,
  CASE WHEN j.level IN ('module', 'row') THEN j.key[1] END AS module,
  j.operator, j.by_kernel, j.base_shapes, j.other_shapes, j.status,
  j.base_ns_per_unit AS base_ns_per_step, j.other_ns_per_unit AS other_ns_per_step, j.delta_ns AS delta_ns_per_step,
  CASE WHEN j.base_ns_per_unit > COALESCE(j.noise_ns, 0) THEN j.delta_ns / j.base_ns_per_unit END AS change,
  CASE WHEN j.level NOT IN ('generation', 'unprofiled', 'wall', 'idle') AND NOT j.within_noise THEN
    j.delta_ns / NULLIF(SUM(j.delta_ns) OVER (PARTITION BY j.level, j.stage), 0) END AS share_of_change,
  j.noise_ns, j.noise_basis,
  CASE WHEN j.status IN ('added', 'gone') AND j.operator LIKE 'triton%fused%_' THEN
    NULLIF('fuses ' || REGEXP_REPLACE(j.operator, '^triton_[a-z]+_fused_?', ''), 'fuses ')
  WHEN j.status NOT IN ('added', 'gone', 'same') AND j.level NOT IN ('generation', 'unprofiled', 'wall', 'idle') THEN NULLIF(CONCAT_WS(', ',
    CASE WHEN COALESCE(j.base_shapes, '') <> COALESCE(j.other_shapes, '') THEN 'other shapes' END,
    CASE
      WHEN j.other_launches_per_unit > j.base_launches_per_unit THEN 'more launches'
      WHEN j.other_launches_per_unit < j.base_launches_per_unit THEN 'fewer launches'
    END,
    CASE WHEN j.base_kernels <> j.other_kernels THEN 'other kernels' END,
    CASE
      WHEN j.other_flops_per_unit > 1.01 * j.base_flops_per_unit THEN 'more FLOPs'
      WHEN j.other_flops_per_unit < 0.99 * j.base_flops_per_unit THEN 'fewer FLOPs'
    END,
    CASE
      WHEN NOT j.like_bytes THEN NULL
      WHEN j.other_bytes_per_unit > 1.01 * j.base_bytes_per_unit THEN 'more bytes'
      WHEN j.other_bytes_per_unit < 0.99 * j.base_bytes_per_unit THEN 'fewer bytes'
    END,
    CASE
      WHEN j.other_roof_fraction > 1.02 * j.base_roof_fraction THEN 'closer to the roof'
      WHEN j.other_roof_fraction < 0.98 * j.base_roof_fraction THEN 'further from the roof'
    END,
    CASE
      WHEN j.like_for_like AND j.delta_ns > 0 AND oc.sm_clock_hz < 0.99 * bc.sm_clock_hz THEN 'lower clock'
      WHEN j.like_for_like AND j.delta_ns < 0 AND oc.sm_clock_hz > 1.01 * bc.sm_clock_hz THEN 'higher clock'
    END
  ), '') END AS why,
  j.base_low_ns, j.base_high_ns, j.other_low_ns, j.other_high_ns,
  j.base_units AS base_steps, j.other_units AS other_steps, j.base_duration_ns, j.other_duration_ns,
  j.base_launches_per_unit AS base_launches_per_step, j.other_launches_per_unit AS other_launches_per_step,
  j.base_flops_per_unit AS base_flops_per_step, j.other_flops_per_unit AS other_flops_per_step,
  j.base_bytes_per_unit AS base_bytes_per_step, j.other_bytes_per_unit AS other_bytes_per_step,
  j.base_dram_bytes_source AS base_bytes_source, j.other_dram_bytes_source AS other_bytes_source,
  j.base_roof_fraction, j.other_roof_fraction, j.base_confidence, j.other_confidence,
  j.base_kernels, j.other_kernels, j.base_diagnosis, j.other_diagnosis
FROM judged j
LEFT JOIN clocks bc ON bc.side = 'base'
LEFT JOIN clocks oc ON oc.side = 'other'
ORDER BY
  LIST_POSITION(['generation', 'unprofiled', 'wall', 'idle', 'step', 'family', 'module', 'operator', 'kernel', 'row'], j.level),
  j.stage, ABS(j.delta_ns) DESC, j.key, j.family
