-- One row per run. The step is the main kind of the run (decode, denoise, reuse) and its time the unprofiled median. FLOPs
-- and bytes are of one such step; MFU and MBU divide them by the step's time and by the highest matmul rate at the run's
-- precision and the DRAM bandwidth.
-- A foreign trace has no unprofiled step, so no MFU, MBU or busy share either: the profiler stretches its steps
-- (step_summary has their profiled times).
-- The busy share is the kernels' time over the step's. Where operators stand for kernels (on a CPU), the profiler stretches
-- both, so it is over the profiled step's.
CREATE OR REPLACE VIEW mode_summary AS
WITH timed AS (
  SELECT run_id, phase, kind, COUNT(*) AS samples, MEDIAN(value_ns) AS step_ns
  FROM timings
  WHERE metric = 'step'
  GROUP BY run_id, phase, kind
),
profiled AS (
  SELECT
    run_id, phase, kind, COUNT(*) AS samples, AVG(wall_ns) AS wall_ns, AVG(busy_ns) AS busy_ns, AVG(flops) AS flops,
    AVG(dram_bytes) AS dram_bytes
  FROM step_summary
  GROUP BY run_id, phase, kind
),
candidates AS (
  SELECT
    p.*, t.step_ns,
    ROW_NUMBER() OVER (PARTITION BY p.run_id ORDER BY COALESCE(t.samples, 0) DESC, p.samples DESC, p.kind) AS place
  FROM profiled p
  LEFT JOIN timed t
    ON t.run_id = p.run_id AND COALESCE(t.phase, '') = COALESCE(p.phase, '') AND COALESCE(t.kind, '') = COALESCE(p.kind, '')
),
main_step AS (
  SELECT run_id, phase, kind, step_ns, busy_ns, wall_ns, flops, dram_bytes
  FROM candidates
  WHERE place = 1
),
whole AS (
  SELECT
    run_id,
    MEDIAN(CASE WHEN metric = 'end_to_end' THEN value_ns END) AS end_to_end_ns,
    MEDIAN(CASE WHEN metric = 'ttft' THEN value_ns END) AS ttft_ns
  FROM timings
  GROUP BY run_id
),
energy AS (
  SELECT run_id, MAX(energy_j) - MIN(energy_j) AS energy_j, (MAX(time_ns) - MIN(time_ns)) / 1000000000 AS seconds
  FROM telemetry
  GROUP BY run_id
),
ceiling AS (
  SELECT
    f.run_id,
    MAX(CASE WHEN f.resource = 'bandwidth' AND f.level = 'dram' THEN f.value END) AS dram_bytes_per_s,
    MAX(CASE WHEN f.resource = 'compute' AND f.precision = r.dtype THEN f.value END) AS flops_per_s
  FROM roofs f
  JOIN runs r ON r.run_id = f.run_id
  GROUP BY f.run_id
)
SELECT
  r.run_id, r.name, r.mode, r.execution, r.model, r.batch, r.prompt_tokens, r.generated_tokens, r.block, r.steps,
  m.step_ns,
  r.committed_tokens / NULLIF(w.end_to_end_ns, 0) * 1000000000 AS tokens_per_s,
  w.ttft_ns,
  (w.end_to_end_ns - w.ttft_ns) / NULLIF(r.generated_tokens - 1, 0) AS tpot_ns,
  m.flops,
  m.dram_bytes,
  m.flops / NULLIF(m.dram_bytes, 0) AS intensity,
  m.flops / NULLIF(m.step_ns, 0) * 1000000000 / c.flops_per_s AS mfu,
  m.dram_bytes / NULLIF(m.step_ns, 0) * 1000000000 / c.dram_bytes_per_s AS mbu,
  m.busy_ns / NULLIF(CASE WHEN r.device_kind = 'cpu' AND m.step_ns IS NOT NULL THEN m.wall_ns ELSE m.step_ns END, 0)
    AS busy_share,
  CASE WHEN e.seconds >= 1 THEN e.energy_j / e.seconds * w.end_to_end_ns / 1000000000 / NULLIF(r.committed_tokens, 0) END
    AS joules_per_token,
  r.peak_memory_bytes,
  r.outcome
FROM runs r
LEFT JOIN main_step m ON m.run_id = r.run_id
LEFT JOIN whole w ON w.run_id = r.run_id
LEFT JOIN energy e ON e.run_id = r.run_id
LEFT JOIN ceiling c ON c.run_id = r.run_id;
