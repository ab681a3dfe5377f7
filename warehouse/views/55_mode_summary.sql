-- One row per run. The step is the main kind of the run (decode, denoise, reuse) and its time the unprofiled median. FLOPs
-- and bytes are of one such step. MFU is the FLOPs' minimum time, each at the peak of its own precision and unit, over the
-- step's time, and NULL where a relevant part of the FLOPs is unknown. MBU is the bytes over the step's time and the DRAM
-- bandwidth. Of a run on several devices, both are the mean over the devices that ran anything.
-- tpot_ns is the time after the first token over the tokens that later steps committed. The first step with tokens commits
-- those that its label says, if the trace begins with step 0, else one in autoregressive modes and an even share of the tokens
-- in diffusion modes (dlm_*). Of other modes nothing is assumed.
-- A foreign trace has no unprofiled step, so no MFU, MBU or busy share either: the profiler stretches its steps
-- (step_summary has their profiled times).
-- The busy share is the kernels' time over the step's, at most 1: kernels take longer under the profiler. Where operators
-- stand for kernels (on a CPU), the profiler stretches both, so it is over the profiled step's.
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
    AVG(dram_bytes) AS dram_bytes, AVG(compute_ns) AS compute_ns
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
  SELECT run_id, phase, kind, step_ns, busy_ns, wall_ns, flops, dram_bytes, compute_ns
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
first_step AS (
  SELECT run_id, MAX(tokens) AS tokens
  FROM (
    SELECT
      run_id, step, tokens,
      MIN(step) OVER (PARTITION BY run_id) AS begins,
      MIN(CASE WHEN tokens > 0 THEN step END) OVER (PARTITION BY run_id) AS commits
    FROM steps
  ) s
  WHERE begins = 0 AND step = commits
  GROUP BY run_id
),
ceiling AS (
  SELECT run_id, MAX(value) AS dram_bytes_per_s
  FROM roofs
  WHERE resource = 'bandwidth' AND level = 'dram'
  GROUP BY run_id
),
active AS (
  SELECT run_id, COUNT(*) AS devices
  FROM (SELECT DISTINCT run_id, rank, device_index FROM covered_time) d
  GROUP BY run_id
),
shares AS (
  SELECT
    r.run_id,
    m.busy_ns / NULLIF(CASE WHEN r.device_kind = 'cpu' AND m.step_ns IS NOT NULL THEN m.wall_ns ELSE m.step_ns END, 0) AS busy_share,
    COALESCE(r.generated_tokens, r.committed_tokens / NULLIF(r.batch, 0)) AS sequence_tokens,
    COALESCE(t.tokens, CASE
      WHEN r.mode <> 'ar' AND r.mode NOT LIKE 'dlm~_%' ESCAPE '~' THEN NULL
      WHEN r.steps IS NULL THEN 1
      ELSE CEIL(r.generated_tokens / NULLIF(r.steps, 0))
    END) AS first_tokens
  FROM runs r
  LEFT JOIN main_step m ON m.run_id = r.run_id
  LEFT JOIN first_step t ON t.run_id = r.run_id
)
SELECT
  r.run_id, r.name, r.mode, r.execution, r.model, r.batch, r.prompt_tokens, r.generated_tokens, r.block, r.steps,
  m.step_ns,
  r.committed_tokens / NULLIF(w.end_to_end_ns, 0) * 1000000000 AS tokens_per_s,
  w.ttft_ns,
  (w.end_to_end_ns - w.ttft_ns) / NULLIF(h.sequence_tokens - h.first_tokens, 0) AS tpot_ns,
  m.flops,
  m.dram_bytes,
  m.flops / NULLIF(m.dram_bytes, 0) AS intensity,
  m.compute_ns / NULLIF(m.step_ns, 0) / a.devices AS mfu,
  m.dram_bytes / NULLIF(m.step_ns, 0) * 1000000000 / c.dram_bytes_per_s / a.devices AS mbu,
  CASE WHEN h.busy_share > 1 THEN 1 ELSE h.busy_share END AS busy_share,
  CASE WHEN e.seconds >= 1 THEN e.energy_j / e.seconds * w.end_to_end_ns / 1000000000 / NULLIF(r.committed_tokens, 0) END
    AS joules_per_token,
  r.peak_memory_bytes,
  r.outcome
FROM runs r
LEFT JOIN main_step m ON m.run_id = r.run_id
LEFT JOIN whole w ON w.run_id = r.run_id
LEFT JOIN energy e ON e.run_id = r.run_id
LEFT JOIN ceiling c ON c.run_id = r.run_id
LEFT JOIN active a ON a.run_id = r.run_id
LEFT JOIN shares h ON h.run_id = r.run_id;
