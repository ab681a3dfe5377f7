-- Device time by operator and by module. roof_fraction and lost_ns (time beyond the roof) are of the kernels that have a
-- roof and a price of high confidence. Beside them stands the time of kernels with guessed prices and of communication.
CREATE OR REPLACE VIEW operator_summary AS
SELECT
  run_id,
  COALESCE(operator, '(' || attribution || ')') AS operator,
  family,
  phase,
  CAST(SUM(kernels) AS BIGINT) AS kernels,
  SUM(duration_ns) AS duration_ns,
  SUM(duration_ns) / SUM(SUM(duration_ns)) OVER (PARTITION BY run_id) AS share,
  SUM(flops) AS flops,
  SUM(compulsory_bytes) AS compulsory_bytes,
  SUM(dram_bytes) AS dram_bytes,
  SUM(flops) / NULLIF(SUM(dram_bytes), 0) AS intensity,
  SUM(flops) / NULLIF(SUM(duration_ns), 0) * 1000000000 AS achieved_flops_per_s,
  SUM(dram_bytes) / NULLIF(SUM(duration_ns), 0) * 1000000000 AS achieved_bytes_per_s,
  SUM(CASE WHEN basis = 'roof' THEN roof_ns END) / NULLIF(SUM(CASE WHEN basis = 'roof' THEN duration_ns END), 0)
    AS roof_fraction,
  SUM(CASE WHEN basis = 'roof' THEN duration_ns - reached_ns END) AS lost_ns,
  CAST(SUM(CASE WHEN basis = 'guess' THEN duration_ns ELSE 0 END) AS BIGINT) AS guessed_ns,
  CAST(SUM(CASE WHEN basis = 'communication' THEN duration_ns ELSE 0 END) AS BIGINT) AS communication_ns
FROM kernel_groups
GROUP BY run_id, COALESCE(operator, '(' || attribution || ')'), family, phase;

CREATE OR REPLACE VIEW module_summary AS
SELECT
  run_id,
  module,
  family,
  phase,
  CAST(SUM(kernels) AS BIGINT) AS kernels,
  SUM(duration_ns) AS duration_ns,
  SUM(duration_ns) / SUM(SUM(duration_ns)) OVER (PARTITION BY run_id) AS share,
  SUM(flops) AS flops,
  SUM(compulsory_bytes) AS compulsory_bytes,
  SUM(dram_bytes) AS dram_bytes,
  SUM(flops) / NULLIF(SUM(dram_bytes), 0) AS intensity,
  SUM(flops) / NULLIF(SUM(duration_ns), 0) * 1000000000 AS achieved_flops_per_s,
  SUM(dram_bytes) / NULLIF(SUM(duration_ns), 0) * 1000000000 AS achieved_bytes_per_s,
  SUM(CASE WHEN basis = 'roof' THEN roof_ns END) / NULLIF(SUM(CASE WHEN basis = 'roof' THEN duration_ns END), 0)
    AS roof_fraction,
  SUM(CASE WHEN basis = 'roof' THEN duration_ns - reached_ns END) AS lost_ns,
  CAST(SUM(CASE WHEN basis = 'guess' THEN duration_ns ELSE 0 END) AS BIGINT) AS guessed_ns,
  CAST(SUM(CASE WHEN basis = 'communication' THEN duration_ns ELSE 0 END) AS BIGINT) AS communication_ns
FROM kernel_groups
GROUP BY run_id, module, family, phase;

-- The name that all layers of a model share: model.layers.*.mlp of model.layers.3.mlp, and Layer_*.MLP_* of Layer_3.MLP_3,
-- where every part of the path ends in the number of an instance.
CREATE OR REPLACE VIEW module_layers AS
SELECT
  run_id,
  module,
  CASE
    WHEN REGEXP_MATCHES(module, '^[^.]+_[0-9]+([.][^.]+_[0-9]+)*$')
      THEN RTRIM(REGEXP_REPLACE(CONCAT(module, '.'), '_[0-9]+[.]', '_*.', 'g'), '.')
    ELSE REGEXP_REPLACE(module, '[.][0-9]+', '.*', 'g')
  END AS all_layers
FROM kernel_classes
WHERE module IS NOT NULL
GROUP BY run_id, module;

-- Device time by the innermost line of the user's own code around each launch; for backward kernels the line of the forward.
CREATE OR REPLACE VIEW stack_summary AS
SELECT
  k.run_id,
  s.source_line,
  s.function,
  COUNT(*) AS kernels,
  CAST(SUM(k.duration_ns) AS BIGINT) AS duration_ns,
  SUM(k.duration_ns) / SUM(SUM(k.duration_ns)) OVER (PARTITION BY k.run_id) AS share,
  SUM(CASE WHEN k.basis = 'roof' THEN k.duration_ns - LEAST(k.roof_time_ns, k.duration_ns) END) AS lost_ns,
  CAST(SUM(CASE WHEN k.basis = 'guess' THEN k.duration_ns ELSE 0 END) AS BIGINT) AS guessed_ns,
  CAST(SUM(CASE WHEN k.basis = 'communication' THEN k.duration_ns ELSE 0 END) AS BIGINT) AS communication_ns
FROM placed_kernels k
LEFT JOIN stacks s ON s.run_id = k.run_id AND s.stack_id = k.stack_id
GROUP BY k.run_id, s.source_line, s.function;

-- One row per step, from its first device activity to its last: the time in which its own activities ran (busy), and the
-- time in which its devices ran nothing at all (gap). In the rest they ran activities of other steps or of none. Rows of
-- older releases have no such time; theirs is the wall time less the busy time.
-- A sum that leaves out more than a tenth of the step's time is NULL: it would look like little work. The compiler's fused
-- kernels, whose FLOPs are unknown, compute elementwise: at most 8 FLOPs a byte. flops leaves them out where that is less
-- than a tenth of it, and is NULL where not. compute_ns is the minimum time of the FLOPs, each at the peak of its own
-- precision and unit.
CREATE OR REPLACE VIEW step_summary AS
WITH work AS (
  SELECT
    run_id,
    step_id,
    CAST(SUM(kernels) AS BIGINT) AS kernels,
    CASE
      WHEN SUM(priced_over_ns) >= 0.9 * SUM(duration_ns) AND 8 * SUM(fused_bytes) <= 0.1 * SUM(work_flops) THEN SUM(work_flops)
    END AS flops,
    CASE WHEN SUM(peakless_flops) <= 0.1 * SUM(work_flops) THEN SUM(compute_ns) END AS compute_ns,
    CASE WHEN SUM(dram_over_ns) >= 0.9 * SUM(duration_ns) THEN SUM(dram_bytes) END AS dram_bytes
  FROM step_parts
  GROUP BY run_id, step_id
)
SELECT
  s.run_id, s.phase, s.kind, s.step,
  s.end_ns - s.start_ns AS wall_ns,
  s.busy_ns,
  COALESCE(s.idle_ns, s.end_ns - s.start_ns - s.busy_ns) AS gap_ns,
  COALESCE(w.kernels, 0) AS kernels,
  w.flops,
  w.dram_bytes,
  s.tokens,
  CASE WHEN w.flops IS NOT NULL THEN w.compute_ns END AS compute_ns
FROM steps s
LEFT JOIN work w ON w.run_id = s.run_id AND w.step_id = s.step_id;

CREATE OR REPLACE VIEW ledger_summary AS
SELECT
  l.run_id, r.name, l.account, l.entry, l.kernels, l.duration_ns,
  l.duration_ns / NULLIF(r.device_time_ns, 0) AS share,
  r.device_time_ns
FROM ledger l
JOIN runs r ON r.run_id = l.run_id;

-- The kinds of bytes side by side, by family. Errors are relative to the counters, over the kernels that have both.
CREATE OR REPLACE VIEW byte_sources AS
SELECT
  run_id,
  family,
  CAST(SUM(kernels) AS BIGINT) AS kernels,
  CAST(SUM(counted_kernels) AS BIGINT) AS counted_kernels,
  SUM(duration_ns) AS duration_ns,
  SUM(compulsory_bytes) AS compulsory_bytes,
  SUM(cache_model_bytes) AS cache_model_bytes,
  SUM(counter_dram_bytes) AS counter_dram_bytes,
  SUM(counted_compulsory_bytes) / NULLIF(SUM(counters_of_compulsory_bytes), 0) - 1 AS compulsory_error,
  SUM(counted_cache_model_bytes) / NULLIF(SUM(counters_of_cache_model_bytes), 0) - 1 AS cache_model_error
FROM kernel_groups
GROUP BY run_id, family;

-- Wall time of steps, with the time in which their kernels ran and in which the device ran nothing, against the time of the same steps without the profiler. If none
-- of these steps was timed, all timed steps of the kind are used, which may differ in length.
-- expected_ns, where graphs replay the steps, is the profiled time minus what the profiler adds to each node; expected_error
-- compares it with the unprofiled time. NULL if nothing is replayed or the cost of a node is unknown.
CREATE OR REPLACE VIEW overhead AS
WITH profiled AS (
  SELECT
    run_id, phase, kind,
    COUNT(*) AS steps,
    AVG(wall_ns) AS wall_ns,
    AVG(busy_ns) AS busy_ns,
    AVG(gap_ns) AS gap_ns,
    AVG(kernels) AS kernels
  FROM step_summary
  GROUP BY run_id, phase, kind
),
replayed AS (
  SELECT
    s.run_id, s.phase, s.kind,
    AVG(s.replayed_kernels) AS kernels,
    AVG(s.end_ns - s.start_ns - s.replayed_kernels * r.profiler_graph_node_ns) AS expected_ns
  FROM steps s
  JOIN runs r ON r.run_id = s.run_id
  WHERE s.replayed_kernels > 0
  GROUP BY s.run_id, s.phase, s.kind
),
unprofiled AS (
  SELECT
    t.run_id, t.phase, t.kind,
    COALESCE(MEDIAN(CASE WHEN s.step_id IS NOT NULL THEN t.value_ns END), MEDIAN(t.value_ns)) AS step_ns
  FROM timings t
  LEFT JOIN steps s
    ON s.run_id = t.run_id AND s.step = t.step
    AND COALESCE(s.phase, '') = COALESCE(t.phase, '') AND COALESCE(s.kind, '') = COALESCE(t.kind, '')
  WHERE t.metric = 'step'
  GROUP BY t.run_id, t.phase, t.kind
)
SELECT p.run_id, p.phase, p.kind, p.steps, p.kernels, p.wall_ns, p.busy_ns, p.gap_ns, u.step_ns AS unprofiled_ns,
  p.wall_ns - u.step_ns AS profiler_overhead_ns,
  COALESCE(g.kernels, 0) AS replayed_kernels,
  g.expected_ns,
  g.expected_ns / NULLIF(u.step_ns, 0) - 1 AS expected_error
FROM profiled p
LEFT JOIN replayed g
  ON g.run_id = p.run_id AND COALESCE(g.phase, '') = COALESCE(p.phase, '') AND COALESCE(g.kind, '') = COALESCE(p.kind, '')
LEFT JOIN unprofiled u
  ON u.run_id = p.run_id AND COALESCE(u.phase, '') = COALESCE(p.phase, '') AND COALESCE(u.kind, '') = COALESCE(p.kind, '');
