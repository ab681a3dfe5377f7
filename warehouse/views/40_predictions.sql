-- Prediction, model and measurement side by side, for one step of each kind and length of a run, in both conventions: the
-- closed forms of its linear operators (with the head), its attention, the rest and all of it, against the prices, bytes and
-- times of its kernels.
-- Kernels' columns are NULL if no such step was profiled (profiled_steps = 0), or if a sum leaves out more than a tenth of
-- the kernels' time. Errors are prediction over the other value, minus 1.
-- floor_ns is the minimum time at the run's roofs, roof_ns the sum of the kernels' minimum times, kernels_ns their measured
-- time. step_ns is the unprofiled median of all steps of the kind that process as many positions, for all components
-- together.
CREATE OR REPLACE VIEW predicted_steps AS
WITH leaves AS (
  SELECT run_id, convention, kind, query, context, forwards, component, flops, bytes, time_ns
  FROM predictions
  WHERE component IN ('linear', 'attention', 'all')
),
predicted AS (
  SELECT * FROM leaves
  UNION ALL
  SELECT
    run_id, convention, kind, query, context, forwards, 'other' AS component,
    SUM(CASE WHEN component = 'all' THEN flops ELSE -flops END) AS flops,
    SUM(CASE WHEN component = 'all' THEN bytes ELSE -bytes END) AS bytes,
    NULL AS time_ns
  FROM leaves
  GROUP BY run_id, convention, kind, query, context, forwards
),
both_levels AS (
  SELECT run_id, step_id, component, duration_ns, work_flops, flops_over_ns, work_bytes, bytes_over_ns, cache_model_bytes,
    cache_model_over_ns, counter_dram_bytes, counter_over_ns, dram_bytes, dram_over_ns, roof_ns, roof_over_ns
  FROM step_parts
  UNION ALL
  -- compiled kernels have known bytes only; their share of a step's FLOPs is negligible, so the whole step counts their
  -- FLOPs as known, its parts do not
  SELECT run_id, step_id, 'all' AS component, duration_ns, work_flops, priced_over_ns, work_bytes, bytes_over_ns,
    cache_model_bytes, cache_model_over_ns, counter_dram_bytes, counter_over_ns, dram_bytes, dram_over_ns, roof_ns, roof_over_ns
  FROM step_parts
),
summed AS (
  SELECT
    s.run_id, s.kind, s.query, s.context, p.component,
    COUNT(DISTINCT p.step_id) AS steps,
    SUM(p.duration_ns) AS duration_ns,
    SUM(p.work_flops) AS flops,
    SUM(p.flops_over_ns) AS flops_over_ns,
    SUM(p.work_bytes) AS compulsory_bytes,
    SUM(p.bytes_over_ns) AS compulsory_over_ns,
    SUM(p.cache_model_bytes) AS cache_model_bytes,
    SUM(p.cache_model_over_ns) AS cache_model_over_ns,
    SUM(p.counter_dram_bytes) AS counter_dram_bytes,
    SUM(p.counter_over_ns) AS counter_over_ns,
    SUM(p.dram_bytes) AS dram_bytes,
    SUM(p.dram_over_ns) AS dram_over_ns,
    SUM(p.roof_ns) AS roof_ns,
    SUM(p.roof_over_ns) AS roof_over_ns
  FROM both_levels p
  JOIN steps s ON s.run_id = p.run_id AND s.step_id = p.step_id
  GROUP BY s.run_id, s.kind, s.query, s.context, p.component
),
seen AS (
  SELECT
    run_id, kind, query, context, component, steps,
    duration_ns / steps AS kernels_ns,
    CASE WHEN flops_over_ns >= 0.9 * duration_ns THEN flops / steps END AS flops,
    CASE WHEN compulsory_over_ns >= 0.9 * duration_ns THEN compulsory_bytes / steps END AS compulsory_bytes,
    CASE WHEN cache_model_over_ns >= 0.9 * duration_ns THEN cache_model_bytes / steps END AS cache_model_bytes,
    CASE WHEN counter_over_ns >= 0.9 * duration_ns THEN counter_dram_bytes / steps END AS counter_dram_bytes,
    CASE WHEN dram_over_ns >= 0.9 * duration_ns THEN dram_bytes / steps END AS dram_bytes,
    CASE WHEN roof_over_ns >= 0.9 * duration_ns THEN roof_ns / steps END AS roof_ns
  FROM summed
),
-- A timing has the kind of its step and its position among steps of that kind; predictions have the number of steps of each
-- length. In a generation contexts grow and the number of processed positions shrinks, so sorting by (context, query) gives
-- the positions. If a kind has only one width, all its steps count.
widths AS (
  SELECT
    run_id, kind, query, context, forwards,
    MIN(query) OVER (PARTITION BY run_id, kind) = MAX(query) OVER (PARTITION BY run_id, kind) AS only_width,
    SUM(forwards) OVER (PARTITION BY run_id, kind) AS of_kind,
    SUM(forwards) OVER (PARTITION BY run_id, kind ORDER BY context, query DESC) AS last_place
  FROM leaves
  WHERE convention = 'corrected' AND component = 'all'
),
timed AS (
  SELECT
    run_id, kind, value_ns,
    ROW_NUMBER() OVER (PARTITION BY run_id, kind, "repeat" ORDER BY step) AS place,
    COUNT(*) OVER (PARTITION BY run_id, kind, "repeat") AS of_kind
  FROM timings
  WHERE metric = 'step'
),
unprofiled AS (
  SELECT w.run_id, w.kind, w.query, MEDIAN(t.value_ns) AS step_ns
  FROM widths w
  JOIN timed t ON t.run_id = w.run_id AND t.kind = w.kind
    AND (w.only_width OR (t.of_kind = w.of_kind AND t.place > w.last_place - w.forwards AND t.place <= w.last_place))
  GROUP BY w.run_id, w.kind, w.query
)
SELECT
  p.run_id, r.name, r.mode, r.execution, r.model, p.convention, p.kind, p.query, p.context, p.component, p.forwards,
  COALESCE(m.steps, 0) AS profiled_steps,
  p.flops AS predicted_flops,
  m.flops AS modelled_flops,
  p.bytes AS predicted_bytes,
  m.compulsory_bytes, m.cache_model_bytes, m.counter_dram_bytes,
  p.flops / NULLIF(p.bytes, 0) AS predicted_intensity,
  m.flops / NULLIF(m.dram_bytes, 0) AS intensity,
  p.time_ns AS floor_ns,
  m.roof_ns, m.kernels_ns,
  CASE WHEN p.component = 'all' THEN u.step_ns END AS step_ns,
  p.flops / NULLIF(m.flops, 0) - 1 AS flops_error,
  p.bytes / NULLIF(m.compulsory_bytes, 0) - 1 AS compulsory_error,
  p.bytes / NULLIF(m.cache_model_bytes, 0) - 1 AS cache_model_error,
  p.bytes / NULLIF(m.counter_dram_bytes, 0) - 1 AS counter_error,
  p.time_ns / NULLIF(m.kernels_ns, 0) AS floor_fraction
FROM predicted p
JOIN runs r ON r.run_id = p.run_id
LEFT JOIN seen m
  ON m.run_id = p.run_id AND m.kind = p.kind AND m.query = p.query AND m.context = p.context AND m.component = p.component
LEFT JOIN unprofiled u ON u.run_id = p.run_id AND u.kind = p.kind AND u.query = p.query;
