-- Where the time of each kind of step goes, and its three largest losses: one row per run and kind of step, the kind with most
-- time first. The parts at_roof_ns to other_ns, idle_ns once, sum to step_ns: the unprofiled time of a step where there is one,
-- else the traced time (basis). A run whose steps hold less than half of its device time, or that has none, has a row of its
-- whole trace first (scope trace, the mean over its devices).
--   device       time of kernels that overlap, or that the profiler lengthens beyond the unprofiled step, is scaled to busy_ns;
--                if ranks waited for each other's profilers, communication has what other kernels leave of the unprofiled step
--   idle         idle_ns divided by cause as in the trace; other_ns is time in which the device runs work of no or another step
--   links        link_copies_ns is the part of communication_ns of copies to the host and to other devices
--   coverage     shares of the device time without operator, module, roof or price, and by source of DRAM bytes
--   losses       operators, else kernels, by time beyond the roof a step; cause and diagnosis have the largest part of it
--   families     the families by time, with the fraction of their roof where all their time has a certain one, and the cause of the
--                largest part of what they lose
--   host         long_gap_share is the part of the time waiting for launches that lies in gaps of over 1 ms, in which the host does
--                something else: a launch takes microseconds. compiled_share is the part of the launches that Inductor generated
WITH launch_groups AS (
$launch_groups
),
held AS (
  SELECT
    run_id,
    SUM(CASE WHEN COALESCE(step_phase, '') = '(no step)' THEN 0 ELSE duration_ns END) / NULLIF(SUM(duration_ns), 0) AS share
  FROM launch_groups
  GROUP BY run_id
),
scoped AS (
  SELECT * EXCLUDE (phase), 'step' AS scope, step_phase AS phase
  FROM launch_groups
  WHERE COALESCE(step_phase, '') <> '(no step)'
  UNION ALL BY NAME
  SELECT g.* EXCLUDE (phase, kind), 'trace' AS scope, NULL AS phase, NULL AS kind
  FROM launch_groups g
  JOIN held h ON h.run_id = g.run_id AND h.share < 0.5
),
-- the mean over the steps of a kind, and over the devices of a trace
causes AS (
  SELECT
    'step' AS scope, run_id, phase, kind, SUM(host_late_ns) AS host_late, SUM(synchronisation_ns) AS synchronisation,
    SUM(launch_latency_ns) AS launch_latency, SUM(dependency_ns) AS dependency, SUM(replay_ns) AS replay,
    SUM(unknown_ns) AS unknown, NULL AS wall_ns, NULL AS busy_ns, NULL AS devices
  FROM step_timeline
  WHERE list_contains($runs, run_id)
  GROUP BY run_id, phase, kind
  UNION ALL
  SELECT
    'trace', run_id, NULL, NULL, AVG(host_late_ns), AVG(synchronisation_ns), AVG(launch_latency_ns), AVG(dependency_ns),
    AVG(replay_ns), AVG(unknown_ns), AVG(wall_ns), AVG(busy_ns), COUNT(*)
  FROM device_timeline
  WHERE list_contains($runs, run_id)
  GROUP BY run_id
),
-- time without the profiler by kind of step: which kind takes most of a run is seen there, since few steps are traced
timings_by_kind AS (
  SELECT run_id, phase, kind, SUM(value_ns) AS total_ns
  FROM timings
  WHERE metric = 'step' AND list_contains($runs, run_id)
  GROUP BY run_id, phase, kind
),
-- 4 is NVML's reason for a clock that the power cap lowers
power AS (
  SELECT
    run_id, COUNT(*) AS power_samples,
    COUNT(CASE WHEN TRY_CAST(throttle_reasons AS BIGINT) & 4 > 0 THEN 1 END) AS capped_samples,
    MAX(sm_clock_hz) AS highest_hz,
    MEDIAN(CASE WHEN TRY_CAST(throttle_reasons AS BIGINT) & 4 > 0 THEN power_w END) AS capped_w,
    MEDIAN(CASE WHEN TRY_CAST(throttle_reasons AS BIGINT) & 4 > 0 THEN sm_clock_hz END) AS capped_hz
  FROM telemetry
  WHERE list_contains($runs, run_id)
  GROUP BY run_id
),
launch_gaps AS (
  SELECT
    'step' AS scope, g.run_id, s.phase, s.kind,
    SUM(CASE WHEN g.duration_ns > 1000000 THEN g.duration_ns ELSE 0 END) / NULLIF(SUM(g.duration_ns), 0) AS long_gap_share
  FROM gaps g
  JOIN steps s ON s.run_id = g.run_id AND s.step_id = g.step_id
  WHERE g.cause IN ('host_late', 'launch_latency') AND list_contains($runs, g.run_id)
  GROUP BY g.run_id, s.phase, s.kind
  UNION ALL
  SELECT
    'trace', run_id, NULL, NULL,
    SUM(CASE WHEN duration_ns > 1000000 THEN duration_ns ELSE 0 END) / NULLIF(SUM(duration_ns), 0)
  FROM gaps
  WHERE cause IN ('host_late', 'launch_latency') AND list_contains($runs, run_id)
  GROUP BY run_id
),
between_steps AS (
  SELECT s.run_id, s.phase, s.kind, SUM(w.wait_ns) / COUNT(DISTINCT w.step_id) AS between_ns
  FROM step_waits w
  JOIN steps s ON s.run_id = w.run_id AND s.step_id = w.step_id
  WHERE list_contains($runs, w.run_id)
  GROUP BY s.run_id, s.phase, s.kind
),
timed AS (
  SELECT
    'step' AS scope, run_id, phase, kind, steps AS units, kernels, launches, replayed_share, device_time_ns, busy_ns, step_ns,
    wall_ns, basis, idle_ns, bound, confidence, diagnosis
  FROM step_diagnosis
  WHERE list_contains($runs, run_id)
  UNION ALL
  SELECT
    'trace', c.run_id, NULL, NULL, c.devices, NULL, NULL, NULL, r.device_time_ns / c.devices, c.busy_ns, c.wall_ns, c.wall_ns,
    'trace', CASE WHEN r.device_kind <> 'cpu' THEN c.wall_ns - c.busy_ns END,
    CASE
      WHEN r.device_kind = 'cpu' THEN 'device'
      WHEN c.host_late + c.synchronisation + c.launch_latency > 0.2 * c.wall_ns THEN 'host'
      WHEN c.wall_ns - c.busy_ns <= 0.2 * c.wall_ns THEN 'device'
      ELSE 'unknown'
    END,
    'low', NULL
  FROM causes c
  JOIN runs r ON r.run_id = c.run_id
  WHERE c.scope = 'trace'
),
parts AS (
  SELECT
    scope, run_id, phase, kind,
    SUM(launches) AS kernels,
    SUM(duration_ns) AS duration_ns,
    SUM(CASE WHEN basis = 'roof' THEN LEAST(best_roof_ns, duration_ns) ELSE 0 END) AS at_roof,
    SUM(CASE WHEN basis = 'roof' THEN GREATEST(duration_ns - best_roof_ns, 0) ELSE 0 END) AS lost,
    SUM(CASE WHEN basis = 'guess' THEN duration_ns ELSE 0 END) AS guess,
    SUM(CASE WHEN basis = 'communication' THEN duration_ns ELSE 0 END) AS communication,
    SUM(CASE WHEN basis = 'communication' AND family <> 'communication' THEN duration_ns ELSE 0 END) AS link_copies,
    SUM(CASE WHEN basis = 'communication' AND kernel LIKE '%Pageable%' THEN duration_ns ELSE 0 END) AS pageable,
    SUM(CASE WHEN kernel LIKE 'triton_poi_%' OR kernel LIKE 'triton_red_%' OR kernel LIKE 'triton_per_%' THEN launches ELSE 0 END)
      / NULLIF(SUM(launches), 0) AS compiled_share,
    SUM(CASE WHEN basis = 'no roof' THEN duration_ns ELSE 0 END) AS no_roof,
    SUM(CASE WHEN attribution IN ('unattributed', 'before_recording', 'profiler_range') THEN duration_ns ELSE 0 END) AS no_operator,
    SUM(CASE WHEN module IS NULL THEN duration_ns ELSE 0 END) AS no_module,
    SUM(CASE WHEN dram_bytes_source = 'none' AND basis <> 'communication' THEN duration_ns ELSE 0 END) AS no_price,
    SUM(CASE WHEN dram_bytes_source = 'counter' THEN duration_ns ELSE 0 END) AS by_counter,
    SUM(CASE WHEN dram_bytes_source = 'cache_model' THEN duration_ns ELSE 0 END) AS by_cache_model,
    SUM(CASE WHEN dram_bytes_source = 'compulsory' THEN duration_ns ELSE 0 END) AS by_compulsory
  FROM scoped
  GROUP BY scope, run_id, phase, kind
),
scaled AS (
  SELECT
    t.* EXCLUDE (kernels),
    COALESCE(t.kernels, p.kernels / t.units) AS kernels,
    LEAST(t.busy_ns, t.step_ns) AS work_ns,
    -- of the sums over all steps, the part in one step, as far as it fits into the time in which the device works
    CASE
      WHEN p.communication > 0 AND t.busy_ns > t.step_ns
        THEN LEAST(1 / t.units, t.step_ns / NULLIF(p.duration_ns - p.communication, 0))
      ELSE LEAST(t.busy_ns, t.step_ns) / NULLIF(p.duration_ns, 0)
    END AS factor,
    CASE
      WHEN p.communication > 0 AND t.busy_ns > t.step_ns
        THEN GREATEST(t.step_ns - (p.duration_ns - p.communication) / t.units, 0) / p.communication
      ELSE LEAST(t.busy_ns, t.step_ns) / NULLIF(p.duration_ns, 0)
    END AS link_factor,
    COALESCE(t.idle_ns, 0) / NULLIF(c.host_late + c.synchronisation + c.launch_latency + c.dependency + c.replay + c.unknown, 0)
      AS idle_factor,
    c.* EXCLUDE (scope, run_id, phase, kind, wall_ns, busy_ns, devices),
    p.* EXCLUDE (scope, run_id, phase, kind, kernels)
  FROM timed t
  JOIN parts p
    ON p.scope = t.scope AND p.run_id = t.run_id AND p.phase IS NOT DISTINCT FROM t.phase AND p.kind IS NOT DISTINCT FROM t.kind
  LEFT JOIN causes c
    ON c.scope = t.scope AND c.run_id = t.run_id AND c.phase IS NOT DISTINCT FROM t.phase AND c.kind IS NOT DISTINCT FROM t.kind
),
reasons AS (
  SELECT
    scope, run_id, phase, kind, operator, CASE WHEN operator IS NULL THEN kernel END AS kernel, family, nearest_roof,
    cause, diagnosis,
    SUM(launches) AS launches,
    SUM(duration_ns) AS duration_ns,
    SUM(best_roof_ns) AS roof_ns,
    SUM(GREATEST(duration_ns - best_roof_ns, 0)) AS lost_ns
  FROM scoped
  WHERE basis = 'roof'
  GROUP BY ALL
),
-- kernels of one cause have each their own evidence
weighed AS (
  SELECT
    *,
    SUM(lost_ns) OVER (PARTITION BY scope, run_id, phase, kind, operator, kernel, COALESCE(cause, diagnosis)) AS of_cause_ns
  FROM reasons
),
-- family, nearest roof, cause and diagnosis of an item are those with the most lost time
items AS (
  SELECT
    scope, run_id, phase, kind, operator, kernel,
    FIRST(family ORDER BY lost_ns DESC, family) AS family,
    FIRST(nearest_roof ORDER BY lost_ns DESC, nearest_roof) AS nearest_roof,
    FIRST(cause ORDER BY of_cause_ns DESC, lost_ns DESC, diagnosis) AS cause,
    FIRST(diagnosis ORDER BY of_cause_ns DESC, lost_ns DESC, diagnosis) AS diagnosis,
    MAX(of_cause_ns) / NULLIF(SUM(lost_ns), 0) AS diagnosed_share,
    SUM(launches) AS launches,
    SUM(duration_ns) AS duration_ns,
    SUM(roof_ns) AS roof_ns,
    SUM(lost_ns) AS lost_ns
  FROM weighed
  GROUP BY scope, run_id, phase, kind, operator, kernel
),
ranked AS (
  SELECT
    *,
    ROW_NUMBER() OVER (PARTITION BY scope, run_id, phase, kind ORDER BY lost_ns DESC, operator, kernel) AS place
  FROM items
  WHERE lost_ns > 0
),
family_reasons AS (
  SELECT
    scope, run_id, phase, kind, family, cause, diagnosis,
    SUM(lost_ns) AS lost_ns,
    SUM(SUM(lost_ns)) OVER (PARTITION BY scope, run_id, phase, kind, family, COALESCE(cause, diagnosis)) AS of_cause_ns
  FROM reasons
  GROUP BY scope, run_id, phase, kind, family, cause, diagnosis
),
family_causes AS (
  SELECT
    scope, run_id, phase, kind, family,
    FIRST(cause ORDER BY of_cause_ns DESC, lost_ns DESC, diagnosis) AS cause,
    FIRST(diagnosis ORDER BY of_cause_ns DESC, lost_ns DESC, diagnosis) AS diagnosis,
    MAX(of_cause_ns) / NULLIF(SUM(lost_ns), 0) AS diagnosed_share
  FROM family_reasons
  GROUP BY scope, run_id, phase, kind, family
),
families AS (
  SELECT
    scope, run_id, phase, kind, family,
    SUM(duration_ns) AS duration_ns,
    SUM(CASE WHEN basis = 'roof' THEN duration_ns ELSE 0 END) AS roofed_ns,
    SUM(CASE WHEN basis = 'roof' THEN best_roof_ns END) AS roof_ns,
    SUM(CASE WHEN basis = 'communication' THEN duration_ns ELSE 0 END) AS communication,
    FIRST(nearest_roof ORDER BY best_roof_ns DESC NULLS LAST, nearest_roof) AS nearest_roof
  FROM scoped
  GROUP BY scope, run_id, phase, kind, family
)
SELECT
  s.run_id, s.scope, s.phase, s.kind, s.units, s.kernels, s.launches, s.replayed_share, s.step_ns, s.basis, s.wall_ns,
  s.bound, s.confidence, s.diagnosis, s.work_ns, s.device_time_ns, b.between_ns,
  s.at_roof * s.factor AS at_roof_ns,
  s.lost * s.factor AS lost_ns,
  s.guess * s.factor AS guess_ns,
  s.communication * s.link_factor AS communication_ns,
  s.link_copies * s.link_factor AS link_copies_ns,
  s.pageable * s.link_factor AS pageable_ns,
  s.compiled_share,
  l.long_gap_share,
  s.no_roof * s.factor AS no_roof_ns,
  s.idle_ns,
  s.host_late * s.idle_factor AS host_late_ns,
  s.synchronisation * s.idle_factor AS synchronisation_ns,
  s.launch_latency * s.idle_factor AS launch_latency_ns,
  s.dependency * s.idle_factor AS dependency_ns,
  s.replay * s.idle_factor AS replay_ns,
  s.unknown * s.idle_factor AS unknown_ns,
  GREATEST(s.step_ns - s.work_ns - COALESCE(s.idle_ns, 0), 0) AS other_ns,
  s.no_operator / NULLIF(s.duration_ns, 0) AS no_operator,
  s.no_module / NULLIF(s.duration_ns, 0) AS no_module,
  s.no_price / NULLIF(s.duration_ns, 0) AS no_price,
  s.by_counter / NULLIF(s.duration_ns, 0) AS by_counter,
  s.by_cache_model / NULLIF(s.duration_ns, 0) AS by_cache_model,
  s.by_compulsory / NULLIF(s.duration_ns, 0) AS by_compulsory,
  w.power_samples, w.capped_samples, w.capped_w, w.capped_hz, w.highest_hz,
  (
    SELECT LIST({
      'operator': r.operator, 'kernel': r.kernel, 'family': r.family, 'launches': r.launches / s.units,
      'time_ns': r.duration_ns * s.factor, 'lost_ns': r.lost_ns * s.factor, 'roof_fraction': r.roof_ns / r.duration_ns,
      'nearest_roof': r.nearest_roof, 'cause': r.cause, 'diagnosis': r.diagnosis, 'diagnosed_share': r.diagnosed_share
    } ORDER BY r.place)
    FROM ranked r
    WHERE r.place <= 3 AND r.scope = s.scope AND r.run_id = s.run_id AND r.phase IS NOT DISTINCT FROM s.phase
      AND r.kind IS NOT DISTINCT FROM s.kind
  ) AS losses,
  (
    SELECT LIST({
      'family': f.family,
      'time_ns': (f.duration_ns - f.communication) * s.factor + f.communication * s.link_factor,
      'roofed': f.roofed_ns / f.duration_ns,
      'roof_fraction': f.roof_ns / NULLIF(f.roofed_ns, 0), 'nearest_roof': f.nearest_roof, 'cause': c.cause,
      'diagnosis': c.diagnosis, 'diagnosed_share': c.diagnosed_share
    } ORDER BY (f.duration_ns - f.communication) * s.factor + f.communication * s.link_factor DESC, f.family)[1:2]
    FROM families f
    LEFT JOIN family_causes c
      ON c.scope = f.scope AND c.run_id = f.run_id AND c.phase IS NOT DISTINCT FROM f.phase AND c.kind IS NOT DISTINCT FROM f.kind
      AND c.family = f.family
    WHERE f.duration_ns > 0 AND f.scope = s.scope AND f.run_id = s.run_id
      AND f.phase IS NOT DISTINCT FROM s.phase AND f.kind IS NOT DISTINCT FROM s.kind
  ) AS families
FROM scaled s
LEFT JOIN timings_by_kind m
  ON s.scope = 'step' AND m.run_id = s.run_id AND m.phase IS NOT DISTINCT FROM s.phase AND m.kind IS NOT DISTINCT FROM s.kind
LEFT JOIN between_steps b
  ON s.scope = 'step' AND b.run_id = s.run_id AND b.phase IS NOT DISTINCT FROM s.phase AND b.kind IS NOT DISTINCT FROM s.kind
LEFT JOIN launch_gaps l
  ON l.scope = s.scope AND l.run_id = s.run_id AND l.phase IS NOT DISTINCT FROM s.phase AND l.kind IS NOT DISTINCT FROM s.kind
LEFT JOIN power w ON w.run_id = s.run_id
WHERE s.step_ns > 0 AND s.busy_ns IS NOT NULL
ORDER BY s.run_id, s.scope DESC, COALESCE(m.total_ns, s.step_ns * s.units) DESC, s.phase, s.kind
