-- What the figures of the study are made of: captured runs (those with a mode), their steps and the cost of a step.

-- One row per captured run: its settings and the latency of a generation. options is the rest of the run's name without the
-- settings that have columns: a variant, a schedule, a number of layers. block is NULL for the naive mode, where it only
-- orders the commits and changes no step's work. throttled_share is of the telemetry samples taken while the run was timed:
-- a power cap or heat counts, idleness does not.
CREATE OR REPLACE VIEW generations AS
WITH whole AS (
  SELECT
    run_id, "repeat", value_ns,
    ROW_NUMBER() OVER (PARTITION BY run_id ORDER BY value_ns, "repeat") AS place,
    COUNT(*) OVER (PARTITION BY run_id) AS repeats
  FROM timings
  WHERE metric = 'end_to_end'
),
timed AS (
  SELECT
    run_id,
    MEDIAN(value_ns) AS latency_ns,
    MIN(value_ns) AS low_ns,
    MAX(value_ns) AS high_ns,
    COUNT(*) AS repeats,
    -- the (lower) median: place n/2 of an even number of repeats, (n + 1)/2 of an odd one
    MAX(CASE WHEN 2 * place IN (repeats, repeats + 1) THEN "repeat" END) AS median_repeat,
    MAX(CASE WHEN 2 * place IN (repeats, repeats + 1) THEN value_ns END) AS median_repeat_ns
  FROM whole
  GROUP BY run_id
),
held AS (
  -- bit 0 of NVML's throttle reasons is idleness
  SELECT run_id, AVG(CASE WHEN (TRY_CAST(throttle_reasons AS BIGINT) & ~1) <> 0 THEN 1.0 ELSE 0.0 END) AS throttled_share
  FROM telemetry
  GROUP BY run_id
),
named AS (
  SELECT
    run_id,
    CASE
      WHEN name LIKE model || '\_' || mode || '\_p%' ESCAPE '\'
        THEN SUBSTRING(name, LENGTH(model) + LENGTH(mode) + 2) || '_'
      ELSE '_'
    END AS rest
  FROM runs
)
SELECT
  r.run_id, r.name, r.experiment,
  COALESCE(r.device, r.device_kind) AS device,
  r.device_kind, r.model, r.mode, r.execution, r.dtype, r.batch, r.prompt_tokens, r.generated_tokens,
  CASE WHEN r.mode <> 'dlm_full' THEN r.block END AS block,
  r.steps,
  -- remove each setting from the name: _p256_g64_b1_... becomes what is left between underscores
  TRIM(REPLACE(
    REPLACE(
      REPLACE(
        REPLACE(
          REPLACE(
            REPLACE(
              REPLACE(n.rest, COALESCE('_p' || CAST(r.prompt_tokens AS VARCHAR) || '_', '_'), '_'),
              COALESCE('_g' || CAST(r.generated_tokens AS VARCHAR) || '_', '_'), '_'
            ),
            COALESCE('_b' || CAST(r.batch AS VARCHAR) || '_', '_'), '_'
          ),
          COALESCE('_block' || CAST(r.block AS VARCHAR) || '_', '_'), '_'
        ),
        COALESCE('_k' || CAST(r.steps AS VARCHAR) || '_', '_'), '_'
      ),
      COALESCE('_' || r.dtype || '_', '_'), '_'
    ),
    COALESCE('_' || r.execution || '_', '_'), '_'
  ), '_') AS options,
  h.throttled_share,
  r.outcome, r.message, r.committed_tokens,
  t.latency_ns, t.low_ns, t.high_ns, t.repeats, t.median_repeat, t.median_repeat_ns,
  r.committed_tokens / NULLIF(t.latency_ns, 0) * 1000000000 AS tokens_per_s,
  r.committed_tokens / NULLIF(t.high_ns, 0) * 1000000000 AS low_tokens_per_s,
  r.committed_tokens / NULLIF(t.low_ns, 0) * 1000000000 AS high_tokens_per_s
FROM runs r
JOIN named n ON n.run_id = r.run_id
LEFT JOIN timed t ON t.run_id = r.run_id
LEFT JOIN held h ON h.run_id = r.run_id
WHERE r.mode IS NOT NULL;

-- Steps of the repeat with the median latency, by kind, with two values of the traced steps of the kind: busy time of the
-- device, and the share of the kernels' time that samples tokens (module or family sampling; NULL if no kernel has it, since
-- a compiler fuses sampling with other work). Without a traced step of the kind traced_steps is 0 and these are NULL. On a
-- CPU the profiler stretches operators and steps alike, so busy_ns is the busy share of the traced step times the unprofiled
-- time.
CREATE OR REPLACE VIEW generation_steps AS
WITH repeated AS (
  SELECT
    t.run_id, t.phase, t.kind,
    COUNT(*) AS steps,
    SUM(t.value_ns) AS total_ns
  FROM timings t
  JOIN generations g ON g.run_id = t.run_id AND g.median_repeat = t."repeat"
  WHERE t.metric = 'step'
  GROUP BY t.run_id, t.phase, t.kind
),
chosen AS (
  SELECT run_id, step_id, SUM(duration_ns) AS kernels_ns, SUM(sampling_ns) AS sampling_ns
  FROM step_parts
  GROUP BY run_id, step_id
),
traced AS (
  SELECT
    s.run_id, s.phase, s.kind,
    COUNT(*) AS steps,
    AVG(s.busy_ns) AS busy_ns,
    AVG(s.end_ns - s.start_ns) AS wall_ns,
    NULLIF(SUM(c.sampling_ns), 0) / NULLIF(SUM(c.kernels_ns), 0) AS sampling_share
  FROM steps s
  JOIN chosen c ON c.run_id = s.run_id AND c.step_id = s.step_id
  GROUP BY s.run_id, s.phase, s.kind
)
SELECT
  p.run_id, p.phase, p.kind, p.steps, p.total_ns,
  p.total_ns / p.steps AS step_ns,
  COALESCE(t.steps, 0) AS traced_steps,
  CASE WHEN g.device_kind = 'cpu' THEN t.busy_ns / NULLIF(t.wall_ns, 0) * p.total_ns / p.steps ELSE t.busy_ns END AS busy_ns,
  t.sampling_share
FROM repeated p
JOIN generations g ON g.run_id = p.run_id
LEFT JOIN traced t
  ON t.run_id = p.run_id AND COALESCE(t.phase, '') = COALESCE(p.phase, '') AND COALESCE(t.kind, '') = COALESCE(p.kind, '');

-- Cost of a kind of step of a run: FLOPs and DRAM bytes of the traced steps (each kernel by its best source; bytes_source is
-- the one that covers most of the run's time), the closed forms in both conventions over all steps of a generation, the time
-- of an unprofiled step (median over repeats of each repeat's median, with minimum and maximum), and the minimum time at the
-- device's roofs. length is the mean number of positions attended to.
CREATE OR REPLACE VIEW step_costs AS
WITH priced AS (
  SELECT
    run_id, kind,
    COUNT(*) AS traced_steps,
    NULLIF(AVG(flops), 0) AS flops,
    AVG(dram_bytes) AS dram_bytes
  FROM step_summary
  WHERE kind IS NOT NULL
  GROUP BY run_id, kind
),
predicted AS (
  SELECT
    run_id, kind,
    SUM(CASE WHEN convention = 'corrected' THEN COALESCE(forwards, 1) * context END)
      / NULLIF(SUM(CASE WHEN convention = 'corrected' THEN COALESCE(forwards, 1) END), 0) AS length,
    SUM(CASE WHEN convention = 'corrected' THEN COALESCE(forwards, 1) * flops END)
      / NULLIF(SUM(CASE WHEN convention = 'corrected' THEN COALESCE(forwards, 1) * bytes END), 0) AS predicted_intensity,
    SUM(CASE WHEN convention = 'as_authored' THEN COALESCE(forwards, 1) * flops END)
      / NULLIF(SUM(CASE WHEN convention = 'as_authored' THEN COALESCE(forwards, 1) * bytes END), 0) AS authored_intensity,
    SUM(CASE WHEN convention = 'corrected' THEN COALESCE(forwards, 1) * time_ns END)
      / NULLIF(SUM(CASE WHEN convention = 'corrected' AND time_ns IS NOT NULL THEN COALESCE(forwards, 1) END), 0) AS floor_ns
  FROM predictions
  WHERE component = 'all'
  GROUP BY run_id, kind
),
labelled AS (
  SELECT run_id, kind, AVG(context) AS context FROM steps WHERE kind IS NOT NULL GROUP BY run_id, kind
),
repeated AS (
  SELECT run_id, kind, "repeat", COUNT(*) AS steps, MEDIAN(value_ns) AS step_ns
  FROM timings
  WHERE metric = 'step' AND kind IS NOT NULL
  GROUP BY run_id, kind, "repeat"
),
timed AS (
  SELECT
    run_id, kind,
    MEDIAN(steps) AS steps,
    MEDIAN(step_ns) AS step_ns,
    MIN(step_ns) AS low_ns,
    MAX(step_ns) AS high_ns,
    COUNT(*) AS repeats
  FROM repeated
  GROUP BY run_id, kind
),
sources AS (
  SELECT run_id, entry, ROW_NUMBER() OVER (PARTITION BY run_id ORDER BY duration_ns DESC, entry) AS place
  FROM ledger
  WHERE account = 'price'
),
kinds AS (
  SELECT run_id, kind FROM priced
  UNION
  SELECT run_id, kind FROM predicted
  UNION
  SELECT run_id, kind FROM timed
)
SELECT
  g.run_id, g.name, g.experiment, g.device, g.model, g.mode, g.execution, g.dtype, g.batch, g.prompt_tokens,
  g.generated_tokens, g.block, g.options, g.throttled_share, k.kind,
  COALESCE(m.length, l.context, CASE WHEN k.kind = 'prefill' THEN g.prompt_tokens ELSE g.prompt_tokens + g.generated_tokens END) AS length,
  p.traced_steps, p.flops, p.dram_bytes,
  p.flops / NULLIF(p.dram_bytes, 0) AS intensity,
  CASE WHEN p.dram_bytes IS NOT NULL THEN s.entry END AS bytes_source,
  m.predicted_intensity, m.authored_intensity,
  t.steps, t.step_ns, t.low_ns, t.high_ns, t.repeats,
  p.flops / NULLIF(t.step_ns, 0) * 1000000000 AS achieved_flops_per_s,
  m.floor_ns
FROM kinds k
JOIN generations g ON g.run_id = k.run_id
LEFT JOIN priced p ON p.run_id = k.run_id AND p.kind = k.kind
LEFT JOIN predicted m ON m.run_id = k.run_id AND m.kind = k.kind
LEFT JOIN timed t ON t.run_id = k.run_id AND t.kind = k.kind
LEFT JOIN labelled l ON l.run_id = k.run_id AND l.kind = k.kind
LEFT JOIN sources s ON s.run_id = k.run_id AND s.place = 1;
