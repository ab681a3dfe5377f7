-- The figures of the study, one view each, ready to plot. All are of captured runs (those with a mode), have the settings
-- that distinguish their series, and join to runs by run_id. Times are of unprofiled generations: medians over repeats with
-- minimum and maximum. Where parts must sum, all are of one repeat, the one with the (lower) median latency.

-- E1: closed forms against traces, for each kind, length and part of a step.
CREATE OR REPLACE VIEW figure_e1_costs AS
SELECT
  g.run_id, g.name, g.experiment, g.device, g.model, g.mode, g.execution, g.dtype, g.batch, g.prompt_tokens,
  g.generated_tokens, g.block, g.options, g.throttled_share, p.convention, p.kind, p.query, p.context, p.component,
  p.predicted_flops, p.modelled_flops, p.flops_error, p.predicted_bytes, p.compulsory_bytes, p.cache_model_bytes,
  p.counter_dram_bytes, p.predicted_intensity, p.intensity
FROM predicted_steps p
JOIN generations g ON g.run_id = p.run_id
WHERE p.profiled_steps > 0;

-- E2: latency of a generation against its length. Every step of the naive mode costs the same, so a run with fewer steps
-- than tokens is projected to one token a step: its times are multiplied by the tokens of a step, and projected_from is its
-- number of steps. Where a run with one token a step was measured, nothing is projected.
CREATE OR REPLACE VIEW figure_e2_latency AS
WITH whole AS (
  SELECT device, model, execution, dtype, batch, prompt_tokens, generated_tokens
  FROM generations
  WHERE mode = 'dlm_full' AND steps = generated_tokens AND latency_ns IS NOT NULL
  GROUP BY device, model, execution, dtype, batch, prompt_tokens, generated_tokens
),
scaled AS (
  SELECT
    g.*,
    CASE
      WHEN g.mode = 'dlm_full' AND g.options = '' AND g.steps < g.generated_tokens AND w.device IS NULL
        THEN g.generated_tokens / g.steps
    END AS factor
  FROM generations g
  LEFT JOIN whole w
    ON w.device = g.device AND w.model = g.model AND w.execution = g.execution AND w.dtype = g.dtype AND w.batch = g.batch
    AND w.prompt_tokens = g.prompt_tokens AND w.generated_tokens = g.generated_tokens
)
SELECT
  run_id, name, experiment, device, model, mode, execution, dtype, batch, prompt_tokens, generated_tokens, block, options,
  throttled_share,
  CASE WHEN factor IS NULL THEN generated_tokens / NULLIF(steps, 0) ELSE 1 END AS tokens_per_step,
  latency_ns * COALESCE(factor, 1) AS latency_ns,
  low_ns * COALESCE(factor, 1) AS low_ns,
  high_ns * COALESCE(factor, 1) AS high_ns,
  repeats,
  CASE WHEN factor IS NOT NULL THEN steps END AS projected_from
FROM scaled
WHERE latency_ns IS NOT NULL;

-- E2: parts of the latency in the repeat with the median latency; the parts of a run sum to it exactly. A kind's kernels
-- take the busy time of its traced steps, at most the step's time; sampling is a part of its own where kernels are known to
-- sample; host is the rest of the steps and the time outside them. A kind without a traced step is one undivided part
-- (basis: not traced).
CREATE OR REPLACE VIEW figure_e2_split AS
WITH kinds AS (
  SELECT
    run_id, kind, total_ns, traced_steps, sampling_share,
    CASE WHEN traced_steps = 0 THEN total_ns ELSE LEAST(busy_ns * steps, total_ns) END AS busy_total_ns
  FROM generation_steps
),
parts AS (
  SELECT
    run_id, kind AS part,
    busy_total_ns * (1 - COALESCE(sampling_share, 0)) AS value_ns,
    CASE WHEN traced_steps = 0 THEN 'not traced' ELSE 'kernels' END AS basis
  FROM kinds
  UNION ALL
  SELECT run_id, 'sampling' AS part, SUM(busy_total_ns * sampling_share) AS value_ns, 'kernels' AS basis
  FROM kinds
  WHERE sampling_share IS NOT NULL
  GROUP BY run_id
  UNION ALL
  SELECT k.run_id, 'host' AS part, MAX(g.median_repeat_ns) - SUM(k.busy_total_ns) AS value_ns, 'difference' AS basis
  FROM kinds k
  JOIN generations g ON g.run_id = k.run_id
  GROUP BY k.run_id
)
SELECT
  g.run_id, g.name, g.experiment, g.device, g.model, g.mode, g.execution, g.dtype, g.batch, g.prompt_tokens,
  g.generated_tokens, g.block, g.options, g.throttled_share,
  g.generated_tokens / NULLIF(g.steps, 0) AS tokens_per_step,
  p.part, p.value_ns,
  p.value_ns / NULLIF(g.median_repeat_ns, 0) AS share,
  p.basis,
  g.median_repeat_ns AS latency_ns, g.low_ns, g.high_ns
FROM parts p
JOIN generations g ON g.run_id = p.run_id;

-- E3: arithmetic intensity against length.
CREATE OR REPLACE VIEW figure_e3_intensity AS
SELECT
  run_id, name, experiment, device, model, mode, execution, dtype, batch, prompt_tokens, generated_tokens, block, options,
  throttled_share,
  kind, length, intensity, bytes_source, predicted_intensity, authored_intensity
FROM step_costs
WHERE COALESCE(intensity, predicted_intensity) IS NOT NULL;

-- E4: each kind of step on the roofline: FLOPs of its kernels over the unprofiled time of the step.
CREATE OR REPLACE VIEW figure_e4_roofline AS
SELECT
  run_id, name, experiment, device, model, mode, execution, dtype, batch, prompt_tokens, generated_tokens, block, options,
  throttled_share,
  kind, flops, dram_bytes, bytes_source, intensity, achieved_flops_per_s, step_ns, low_ns, high_ns, floor_ns
FROM step_costs
WHERE intensity > 0 AND achieved_flops_per_s > 0;

-- E5: latency and intensity against block size.
CREATE OR REPLACE VIEW figure_e5_block_size AS
SELECT
  g.run_id, g.name, g.experiment, g.device, g.model, g.mode, g.execution, g.dtype, g.batch, g.prompt_tokens,
  g.generated_tokens, g.block, g.options, g.throttled_share,
  g.generated_tokens / NULLIF(g.steps, 0) AS tokens_per_step,
  g.latency_ns, g.low_ns, g.high_ns, g.repeats,
  c.step_ns AS reuse_ns,
  c.intensity, c.bytes_source, c.predicted_intensity, c.authored_intensity
FROM generations g
LEFT JOIN step_costs c ON c.run_id = g.run_id AND c.kind = 'reuse'
WHERE g.block IS NOT NULL AND g.mode LIKE 'dlm_block_%' AND g.latency_ns IS NOT NULL;

-- E6: throughput against batch, with the points that ran out of memory, and peak memory by part.
CREATE OR REPLACE VIEW figure_e6_throughput AS
WITH sizes AS (
  SELECT name AS device, MAX(memory_bytes) AS capacity_bytes
  FROM devices
  GROUP BY name
)
SELECT
  g.run_id, g.name, g.experiment, g.device, g.model, g.mode, g.execution, g.dtype, g.batch, g.prompt_tokens,
  g.generated_tokens, g.block, g.options, g.throttled_share,
  g.generated_tokens / NULLIF(g.steps, 0) AS tokens_per_step,
  g.outcome, g.message, g.tokens_per_s, g.low_tokens_per_s, g.high_tokens_per_s, g.repeats,
  r.weights_bytes, r.cache_bytes, r.other_bytes, r.peak_memory_bytes, s.capacity_bytes
FROM generations g
JOIN runs r ON r.run_id = g.run_id
LEFT JOIN sizes s ON s.device = g.device
WHERE g.batch IS NOT NULL AND (g.tokens_per_s IS NOT NULL OR g.outcome = 'oom');

-- E7: latency and throughput against the number of steps. AR is the baseline: it has no such setting, and steps is NULL.
CREATE OR REPLACE VIEW figure_e7_steps AS
SELECT
  run_id, name, experiment, device, model, mode, execution, dtype, batch, prompt_tokens, generated_tokens, block, options,
  throttled_share,
  steps, latency_ns, low_ns, high_ns, repeats, tokens_per_s, low_tokens_per_s, high_tokens_per_s
FROM generations
WHERE latency_ns IS NOT NULL AND (steps IS NOT NULL OR mode = 'ar');

-- E8: arithmetic intensity against batch.
CREATE OR REPLACE VIEW figure_e8_batch AS
SELECT
  run_id, name, experiment, device, model, mode, execution, dtype, batch, prompt_tokens, generated_tokens, block, options,
  throttled_share,
  kind, intensity, bytes_source, predicted_intensity, authored_intensity
FROM step_costs
WHERE batch IS NOT NULL AND COALESCE(intensity, predicted_intensity) IS NOT NULL;

-- E9: time of a step against the length it attends to: the prompt for a prefill, the mean position for a decoding step, the
-- whole sequence for a diffusion step.
CREATE OR REPLACE VIEW figure_e9_lengths AS
SELECT
  run_id, name, experiment, device, model, mode, execution, dtype, batch, prompt_tokens, generated_tokens, block, options,
  throttled_share,
  kind, length, step_ns, low_ns, high_ns, repeats, floor_ns
FROM step_costs
WHERE step_ns IS NOT NULL;

-- Waterfall from the ideal to the measured step: a generation over its steps, in the repeat with the median latency. The
-- bars of a run, ordered by place, each start where the previous one ends; the last ends at the measured step:
--   1 ideal      minimum time of the most frequent kind of step, by the closed forms at the device's roofs
--   2 steps      what other kinds (refreshes, a prefill) add to the mean step, by the same minimum times
--   3 work       work of the kernels beyond the closed forms, at their roofs (unfused operators; negative if a closed form has
--                more work than was done, or the kernels' FLOPs are unknown)
--   4 family     kernels' time beyond their roofs, by family of operators
--   5 guess, communication, no roof: the time of kernels beyond a guessed roof, and all time of communication and of kernels
--                without a roof or price
--   6 host       the rest: gaps, launches and waits, minus the time that the profiler adds to kernels, so it may be negative
-- A run has no waterfall if a kind of its steps has no minimum time or was not traced.
CREATE OR REPLACE VIEW figure_gap AS
WITH families AS (
  SELECT run_id, phase, kind, item AS family, basis, SUM(duration_ns) AS duration_ns,
    SUM(CASE WHEN basis IN ('roof', 'guess') THEN roof_ns END) AS roof_ns, SUM(COALESCE(lost_ns, duration_ns)) AS lost_ns
  FROM deviations
  WHERE level = 'family'
  GROUP BY run_id, phase, kind, item, basis
),
floors AS (
  SELECT
    s.run_id, s.phase, s.kind, s.steps, s.traced_steps, c.floor_ns,
    SUM(s.steps) OVER (PARTITION BY s.run_id) AS all_steps,
    MIN(CASE WHEN c.floor_ns IS NOT NULL AND s.traced_steps > 0 THEN 1 ELSE 0 END) OVER (PARTITION BY s.run_id) AS is_complete,
    ROW_NUMBER() OVER (PARTITION BY s.run_id ORDER BY s.steps DESC, s.kind) AS place
  FROM generation_steps s
  JOIN generations g ON g.run_id = s.run_id AND g.device_kind <> 'cpu'
  LEFT JOIN step_costs c ON c.run_id = s.run_id AND c.kind = s.kind
),
complete AS (
  SELECT
    f.*, f.steps / f.all_steps AS weight,
    MAX(CASE WHEN place = 1 THEN floor_ns END) OVER (PARTITION BY run_id) AS ideal_ns
  FROM floors f
  WHERE is_complete = 1
),
kernels_of_steps AS (
  SELECT
    c.run_id, c.kind, f.family, f.basis, c.weight / c.traced_steps AS weight, f.duration_ns, f.roof_ns, f.lost_ns
  FROM complete c
  JOIN families f
    ON f.run_id = c.run_id AND COALESCE(f.phase, '') = COALESCE(c.phase, '') AND COALESCE(f.kind, '') = COALESCE(c.kind, '')
),
at_roofs AS (
  SELECT run_id, SUM(weight * roof_ns) AS roof_ns, SUM(weight * duration_ns) AS duration_ns
  FROM kernels_of_steps
  GROUP BY run_id
),
at_floors AS (
  SELECT run_id, SUM(weight * floor_ns) AS floor_ns, MAX(all_steps) AS all_steps
  FROM complete
  GROUP BY run_id
),
bars AS (
  SELECT run_id, 1 AS stage, 'ideal' AS component, kind AS item, floor_ns AS value_ns
  FROM complete
  WHERE place = 1
  UNION ALL
  SELECT run_id, 2, 'steps', kind, weight * (floor_ns - ideal_ns)
  FROM complete
  WHERE place > 1
  UNION ALL
  SELECT f.run_id, 3, 'work', 'beyond the closed form', COALESCE(r.roof_ns, 0) - f.floor_ns
  FROM at_floors f
  LEFT JOIN at_roofs r ON r.run_id = f.run_id
  UNION ALL
  SELECT run_id, CASE WHEN basis = 'roof' THEN 4 ELSE 5 END, CASE WHEN basis = 'roof' THEN 'family' ELSE basis END, family,
    SUM(weight * lost_ns)
  FROM kernels_of_steps
  GROUP BY run_id, basis, family
  HAVING basis = 'roof' OR SUM(weight * lost_ns) > 0
  UNION ALL
  SELECT f.run_id, 6, 'host', 'gaps and host', g.median_repeat_ns / f.all_steps - COALESCE(r.duration_ns, 0)
  FROM at_floors f
  JOIN generations g ON g.run_id = f.run_id
  LEFT JOIN at_roofs r ON r.run_id = f.run_id
),
ordered AS (
  SELECT
    b.*,
    ROW_NUMBER() OVER (PARTITION BY run_id ORDER BY stage, value_ns DESC, item) AS place,
    SUM(value_ns) OVER (
      PARTITION BY run_id ORDER BY stage, value_ns DESC, item ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS end_ns
  FROM bars b
)
SELECT
  g.run_id, g.name, g.experiment, g.device, g.model, g.mode, g.execution, g.dtype, g.batch, g.prompt_tokens,
  g.generated_tokens, g.block, g.options, g.throttled_share,
  f.all_steps AS steps,
  o.place, o.stage, o.component, o.item, o.value_ns,
  o.end_ns - o.value_ns AS start_ns,
  o.end_ns,
  g.median_repeat_ns / f.all_steps AS measured_ns
FROM ordered o
JOIN generations g ON g.run_id = o.run_id
JOIN at_floors f ON f.run_id = o.run_id;

-- Speedup of cached blocks over the naive mode, at each stage of the waterfall: if every step were the ideal one, with the
-- other kinds of steps, with the kernels' own work at its roofs, with the kernels as they ran, and as measured. A run is
-- paired with a naive run of the same device, model, options, lengths, batch, steps and execution, preferably of its own
-- experiment. Times are of whole generations.
CREATE OR REPLACE VIEW figure_speedup AS
WITH levels AS (
  SELECT g.run_id, l.stage, l.level, SUM(g.value_ns) * MAX(g.steps) AS total_ns
  FROM figure_gap g
  JOIN (
    SELECT 1 AS stage, 'ideal step' AS level, 1 AS up_to
    UNION ALL
    SELECT 2, 'with refreshes', 2
    UNION ALL
    SELECT 3, 'kernels at their roofs', 3
    UNION ALL
    SELECT 4, 'kernels as they ran', 5
    UNION ALL
    SELECT 5, 'measured', 6
  ) l ON g.stage <= l.up_to
  GROUP BY g.run_id, l.stage, l.level
),
pairs AS (
  SELECT
    g.run_id, n.run_id AS naive_run_id, n.name AS naive_name,
    ROW_NUMBER() OVER (
      PARTITION BY g.run_id
      ORDER BY CASE WHEN COALESCE(n.experiment, '') = COALESCE(g.experiment, '') THEN 0 ELSE 1 END, n.name, n.run_id
    ) AS place
  FROM generations g
  JOIN generations n
    ON n.mode = 'dlm_full' AND n.device = g.device AND n.model = g.model AND n.execution = g.execution AND n.dtype = g.dtype
    AND n.batch = g.batch AND n.prompt_tokens = g.prompt_tokens AND n.generated_tokens = g.generated_tokens
    AND n.options = g.options AND COALESCE(n.steps, 0) = COALESCE(g.steps, 0)
  WHERE g.mode LIKE 'dlm_block_%'
)
SELECT
  g.run_id, g.name, g.experiment, g.device, g.model, g.mode, g.execution, g.dtype, g.batch, g.prompt_tokens,
  g.generated_tokens, g.block, g.options, g.throttled_share,
  l.stage, l.level, p.naive_run_id, p.naive_name,
  d.total_ns AS naive_ns,
  l.total_ns,
  d.total_ns / NULLIF(l.total_ns, 0) AS speedup
FROM pairs p
JOIN generations g ON g.run_id = p.run_id
JOIN levels l ON l.run_id = p.run_id
JOIN levels d ON d.run_id = p.naive_run_id AND d.stage = l.stage
WHERE p.place = 1;

-- Energy of a committed token: mean power while generating, over at least a second of telemetry, times the latency.
CREATE OR REPLACE VIEW figure_energy AS
WITH drawn AS (
  SELECT
    run_id,
    (MAX(time_ns) - MIN(time_ns)) / 1000000000 AS telemetry_s,
    (MAX(energy_j) - MIN(energy_j)) / NULLIF((MAX(time_ns) - MIN(time_ns)) / 1000000000, 0) AS mean_power_w
  FROM telemetry
  GROUP BY run_id
)
SELECT
  g.run_id, g.name, g.experiment, g.device, g.model, g.mode, g.execution, g.dtype, g.batch, g.prompt_tokens,
  g.generated_tokens, g.block, g.options, g.throttled_share,
  g.generated_tokens / NULLIF(g.steps, 0) AS tokens_per_step,
  m.joules_per_token, d.mean_power_w, d.telemetry_s, g.tokens_per_s
FROM generations g
JOIN mode_summary m ON m.run_id = g.run_id
LEFT JOIN drawn d ON d.run_id = g.run_id
WHERE m.joules_per_token IS NOT NULL;
