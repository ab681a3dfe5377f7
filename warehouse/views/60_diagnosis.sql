-- One row per kind of step: what it waits for. A step is host-bound if the device waits for the host during more than a
-- fifth of it: then shorter kernels do not shorten it, and idle_ns is the gain of faster launching (graphs, compilation).
-- Kernels leave gaps of under a tenth of a step between them, so a smaller idle share means device-bound. A larger one with
-- other causes (waiting streams, nodes of a graph, unrecorded launches) is unknown. A replay that waits also waits for the
-- host. Idle is time in which the step's devices ran nothing at all, of any step.
-- The step is the unprofiled one if it was timed (basis unprofiled), else the traced one, from its first activity to its
-- last. Steps that follow each other without pause may leave the device idle between them: then the wait while their label
-- was open counts too, and the diagnosis says so. The profiler slows launching several times: device-bound in a trace alone
-- is certain, host-bound has low confidence unless graphs replay the step. An unprofiled step is host-bound only if the
-- device waited for the host in the trace as well; of its idle time, the host has the share that it has in the trace.
-- A step of one kernel, with nothing on the device before it or after, is unknown: its trace shows no gap.
-- Several kernels of one launch are the replay of a graph. On a CPU operators stand for kernels and nothing launches them,
-- so the bound is always the device.
CREATE OR REPLACE VIEW step_diagnosis AS
WITH inside AS (
  SELECT
    run_id, step_id,
    SUM(host_late_ns + synchronisation_ns + launch_latency_ns) AS host_ns,
    SUM(host_late_ns + synchronisation_ns + launch_latency_ns + dependency_ns + replay_ns + unknown_ns) AS idle_ns
  FROM step_idle
  GROUP BY run_id, step_id
),
-- the mean over the step's devices
beside AS (
  SELECT
    w.run_id, w.step_id,
    SUM(a.wait_ns) / COUNT(DISTINCT w.device_index) AS wait_ns,
    SUM(CASE WHEN a.cause IN ('host_late', 'synchronisation', 'launch_latency') THEN a.wait_ns ELSE 0 END)
      / COUNT(DISTINCT w.device_index) AS host_ns
  FROM step_work w
  LEFT JOIN step_waits a
    ON a.run_id = w.run_id AND a.rank = w.rank AND a.device_index = w.device_index AND a.step_id = w.step_id
  GROUP BY w.run_id, w.step_id
),
profiled AS (
  SELECT
    s.run_id, s.phase, s.kind,
    COUNT(*) AS steps,
    AVG(w.kernels) AS kernels,
    AVG(w.launches) AS launches,
    -- several activities of one launch are a replay only in runs that say no more
    SUM(COALESCE(s.replayed_kernels, w.replayed_kernels)) / SUM(w.kernels) AS replayed_share,
    AVG(w.device_time_ns) AS device_time_ns,
    AVG(s.busy_ns) AS busy_ns,
    AVG(s.end_ns - s.start_ns) AS wall_ns,
    AVG(COALESCE(s.idle_ns, s.end_ns - s.start_ns - s.busy_ns)) AS traced_idle_ns,
    -- without gaps, as older releases stored steps, all idle time counts as the host's
    COALESCE(SUM(i.host_ns) / NULLIF(SUM(i.idle_ns), 0), 1) AS host_share,
    AVG(COALESCE(b.wait_ns, 0)) AS beside_ns,
    AVG(COALESCE(b.host_ns, 0)) AS host_beside_ns
  FROM steps s
  JOIN step_launches w ON w.run_id = s.run_id AND w.step_id = s.step_id
  LEFT JOIN inside i ON i.run_id = s.run_id AND i.step_id = s.step_id
  LEFT JOIN beside b ON b.run_id = s.run_id AND b.step_id = s.step_id
  GROUP BY s.run_id, s.phase, s.kind
),
unprofiled AS (
  SELECT run_id, phase, kind, MEDIAN(value_ns) AS unprofiled_ns
  FROM timings
  WHERE metric = 'step'
  GROUP BY run_id, phase, kind
),
timed AS (
  SELECT
    p.*, u.unprofiled_ns,
    r.device_kind = 'cpu' AS on_cpu,
    COALESCE(u.unprofiled_ns, p.wall_ns) AS step_ns,
    CASE WHEN u.unprofiled_ns IS NULL THEN 'trace' ELSE 'unprofiled' END AS basis
  FROM profiled p
  JOIN runs r ON r.run_id = p.run_id
  LEFT JOIN unprofiled u
    ON u.run_id = p.run_id AND COALESCE(u.phase, '') = COALESCE(p.phase, '') AND COALESCE(u.kind, '') = COALESCE(p.kind, '')
),
bounded AS (
  SELECT
    t.*,
    CASE WHEN basis = 'trace' THEN traced_idle_ns ELSE GREATEST(step_ns - busy_ns, 0) END AS idle_ns,
    -- a lone activity, and none before or after it while the label was open: the trace has no gap to judge by
    basis = 'trace' AND kernels <= 1 AND beside_ns = 0 AS single,
    traced_idle_ns * host_share > 0.2 * wall_ns AS waits_inside,
    traced_idle_ns * host_share + host_beside_ns > 0.2 * (wall_ns + beside_ns) AS waits
  FROM timed t
),
judged AS (
  SELECT
    b.*,
    CASE
      WHEN on_cpu THEN 'device'
      WHEN basis = 'trace' AND waits THEN 'host'
      WHEN single THEN 'unknown'
      WHEN idle_ns <= 0.2 * step_ns THEN 'device'
      WHEN basis = 'unprofiled' AND waits AND idle_ns * (traced_idle_ns * host_share + host_beside_ns)
        > 0.2 * step_ns * (traced_idle_ns + beside_ns) THEN 'host'
      ELSE 'unknown'
    END AS bound
  FROM bounded b
),
trusted AS (
  SELECT
    j.*,
    CASE
      WHEN bound = 'unknown' OR (bound = 'host' AND basis = 'trace' AND replayed_share < 0.5) THEN 'low' ELSE 'high'
    END AS confidence
  FROM judged j
)
SELECT
  run_id, phase, kind, steps, kernels, launches, replayed_share, device_time_ns, busy_ns, wall_ns, unprofiled_ns,
  unprofiled_ns - busy_ns AS unprofiled_gap_ns,
  wall_ns - unprofiled_ns AS profiler_overhead_ns,
  step_ns, basis,
  CASE WHEN NOT on_cpu THEN idle_ns END AS idle_ns,
  CASE WHEN NOT on_cpu THEN idle_ns / NULLIF(step_ns, 0) END AS idle_share,
  bound, confidence,
  CASE
    WHEN on_cpu THEN 'operators run on the host, which waits for no device'
    WHEN bound = 'unknown' AND single THEN 'unknown: a step of one kernel shows no idle time: time it without the profiler'
    WHEN bound = 'unknown'
      THEN 'unknown: the device is idle for over a fifth of the step, but the host causes less: see gap_summary'
    WHEN bound = 'host' AND basis = 'trace' AND NOT waits_inside
      THEN 'host-bound between steps: the device waits for each step to begin'
    WHEN bound = 'host' AND confidence = 'low' THEN 'host-bound under the profiler, which slows launching: time the step without it'
    WHEN bound = 'host' AND replayed_share >= 0.5 THEN 'host-bound: the device waits between replays of graphs'
    WHEN bound = 'host' THEN 'host-bound: the device waits for launches, kernel by kernel'
    WHEN basis = 'trace' AND replayed_share < 0.5 THEN 'device-bound, even under the profiler'
    ELSE 'device-bound'
  END AS diagnosis
FROM trusted;

-- Deviations from the roof by lost time, at four levels: operator, module, family, and step (a kind of step as a whole). At
-- each level the rows sum to the run's device time. basis says what a row can tell:
--   roof           a roof and a price of high confidence: duration_ns = roof_ns + lost_ns; above the roof lost_ns is 0
--   guess          the same by prices of low confidence
--   communication  bytes over links: no time of it counts as lost
--   no roof        neither price nor roof: the minimum time is unknown
-- Ranks and cumulative shares of lost time are within a run, level and basis. nearest_roof, bound and diagnosis are those of
-- the kernels that lose most; a diagnosis that is not of all kernels says of how many it is.
-- saved_ns is an upper limit (Amdahl) for the time that one step of the kind would save if the item ran at its roof: the
-- kernels' lost time, scaled by the step's time over its kernels' time, and 0 if the step is host-bound.
CREATE OR REPLACE VIEW deviations AS
WITH levelled AS (
  SELECT
    a.run_id, l.level,
    CASE l.level
      WHEN 'operator' THEN COALESCE(a.operator, '(' || a.attribution || ')')
      WHEN 'module' THEN COALESCE(a.module, '(no module)')
      WHEN 'family' THEN a.family
      ELSE COALESCE(a.kind, a.step_phase, CASE WHEN a.in_step THEN '(step)' ELSE '(no step)' END)
    END AS item,
    a.phase, a.step_phase, a.kind, a.in_step, a.basis, a.nearest_roof, a.bound, a.diagnosis,
    SUM(a.kernels) AS kernels,
    SUM(a.duration_ns) AS duration_ns,
    SUM(a.reached_ns) AS roof_ns
  FROM kernel_groups a
  CROSS JOIN (SELECT 'operator' AS level UNION ALL SELECT 'module' UNION ALL SELECT 'family' UNION ALL SELECT 'step') l
  GROUP BY
    a.run_id, l.level,
    CASE l.level
      WHEN 'operator' THEN COALESCE(a.operator, '(' || a.attribution || ')')
      WHEN 'module' THEN COALESCE(a.module, '(no module)')
      WHEN 'family' THEN a.family
      ELSE COALESCE(a.kind, a.step_phase, CASE WHEN a.in_step THEN '(step)' ELSE '(no step)' END)
    END,
    a.phase, a.step_phase, a.kind, a.in_step, a.basis, a.nearest_roof, a.bound, a.diagnosis
),
placed AS (
  SELECT
    v.*,
    ROW_NUMBER() OVER (
      PARTITION BY run_id, level, item, phase, step_phase, kind, in_step, basis
      ORDER BY duration_ns - COALESCE(roof_ns, 0) DESC, nearest_roof, bound, diagnosis
    ) AS place,
    SUM(kernels) OVER (PARTITION BY run_id, level, item, phase, step_phase, kind, in_step, basis, diagnosis) AS diagnosed,
    SUM(kernels) OVER (PARTITION BY run_id, level, item, phase, step_phase, kind, in_step, basis) AS all_kernels
  FROM levelled v
),
summed AS (
  SELECT
    run_id, level, item, phase, step_phase, kind, in_step, basis,
    SUM(kernels) AS kernels,
    SUM(duration_ns) AS duration_ns,
    SUM(roof_ns) AS roof_ns,
    SUM(CASE WHEN basis IN ('roof', 'guess') THEN duration_ns - roof_ns END) AS lost_ns,
    MAX(CASE WHEN place = 1 THEN nearest_roof END) AS nearest_roof,
    MAX(CASE WHEN place = 1 THEN bound END) AS bound,
    MAX(CASE WHEN place = 1 THEN
      CASE WHEN diagnosed < all_kernels THEN CAST(diagnosed AS BIGINT) || ' of ' || CAST(all_kernels AS BIGINT) || ' launches: ' || diagnosis
        ELSE diagnosis END
    END) AS diagnosis
  FROM placed
  GROUP BY run_id, level, item, phase, step_phase, kind, in_step, basis
),
valued AS (
  SELECT
    s.*,
    s.lost_ns / d.steps AS lost_ns_per_step,
    d.step_ns,
    d.bound AS step_bound,
    d.diagnosis AS step_diagnosis,
    CASE
      WHEN d.bound = 'host' AND d.confidence = 'high' THEN 0 * s.lost_ns
      WHEN d.bound = 'device' THEN s.lost_ns / d.steps * LEAST(1, d.step_ns / NULLIF(d.device_time_ns, 0))
    END AS saved_ns,
    CASE
      WHEN s.basis = 'no roof' THEN 'unknown: its kernels have no roof'
      WHEN s.basis = 'communication' THEN 'unknown: communication waits for links and other devices'
      WHEN d.bound IS NULL THEN 'unknown: no step'
      WHEN d.bound = 'unknown' THEN 'unknown: the step waits, and not for the host alone'
      WHEN d.bound = 'host' AND d.confidence = 'high' THEN 'nothing while the step is host-bound'
      WHEN d.bound = 'host' THEN 'unknown: the trace alone does not say whether the step is host-bound without the profiler'
      WHEN s.basis = 'guess' THEN 'at most saved_ns a step, by a guessed price'
      ELSE 'at most saved_ns a step'
    END AS worth
  FROM summed s
  LEFT JOIN step_diagnosis d
    ON s.in_step AND d.run_id = s.run_id
    AND COALESCE(d.phase, '') = COALESCE(s.step_phase, '') AND COALESCE(d.kind, '') = COALESCE(s.kind, '')
)
SELECT
  run_id, level, item, phase, kind, basis,
  ROW_NUMBER() OVER (
    PARTITION BY run_id, level, basis ORDER BY COALESCE(lost_ns, duration_ns) DESC, item, phase, kind, in_step
  ) AS lost_rank,
  kernels, duration_ns,
  duration_ns / NULLIF(SUM(duration_ns) OVER (PARTITION BY run_id, level), 0) AS share,
  roof_ns, lost_ns,
  SUM(lost_ns) OVER (
    PARTITION BY run_id, level, basis ORDER BY COALESCE(lost_ns, duration_ns) DESC, item, phase, kind, in_step
    ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
  ) / NULLIF(SUM(lost_ns) OVER (PARTITION BY run_id, level, basis), 0) AS cumulative_lost_share,
  nearest_roof, bound, diagnosis, lost_ns_per_step, step_ns, saved_ns,
  saved_ns / NULLIF(step_ns, 0) AS saved_share,
  step_bound, step_diagnosis, worth
FROM valued;
