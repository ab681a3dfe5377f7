-- Time on devices, to the nanosecond. Time covered twice is busy once: each activity contributes only what no activity that
-- started earlier on its device, stream or step covers. Sums of these columns are therefore lengths of unions.
CREATE OR REPLACE VIEW coverage AS
WITH ends AS (
  SELECT
    run_id, rank, device_index, stream, step_id, kernel_id, start_ns, start_ns + duration_ns AS end_ns,
    MAX(start_ns + duration_ns) OVER (
      PARTITION BY run_id, rank, device_index
      ORDER BY start_ns, kernel_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS device_until_ns
  FROM kernels
),
-- only devices that ever ran two activities at once need the windows by stream and step; a flag and not a join, through
-- which DuckDB does not push a condition on run_id: each question of one run would read the kernels of all
flagged AS (
  SELECT
    *,
    MAX(CASE WHEN start_ns < device_until_ns THEN 1 ELSE 0 END) OVER (PARTITION BY run_id, rank, device_index) AS parallel
  FROM ends
),
covered AS (
  SELECT
    *,
    MAX(end_ns) OVER (
      PARTITION BY run_id, rank, device_index, stream
      ORDER BY start_ns, kernel_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS stream_until_ns,
    MAX(end_ns) OVER (
      PARTITION BY run_id, rank, device_index, step_id
      ORDER BY start_ns, kernel_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS step_until_ns
  FROM flagged
  WHERE parallel = 1
)
SELECT
  run_id, rank, device_index, stream, step_id, kernel_id, start_ns, end_ns,
  GREATEST(end_ns - GREATEST(start_ns, COALESCE(device_until_ns, start_ns)), 0) AS device_fresh_ns,
  GREATEST(end_ns - GREATEST(start_ns, COALESCE(stream_until_ns, start_ns)), 0) AS stream_fresh_ns,
  GREATEST(end_ns - GREATEST(start_ns, COALESCE(step_until_ns, start_ns)), 0) AS step_fresh_ns
FROM covered
UNION ALL
SELECT
  run_id, rank, device_index, stream, step_id, kernel_id, start_ns, end_ns,
  end_ns - start_ns AS device_fresh_ns, end_ns - start_ns AS stream_fresh_ns, end_ns - start_ns AS step_fresh_ns
FROM flagged
WHERE parallel = 0;

-- Gaps of a device by cause and by part; a gap with several causes has several rows in the table gaps. A gap belongs to the step of both its neighbours, else to the last step to begin
-- of those around it on the device; step_id is NULL before, between and after steps. Steps that overlap share gaps: see
-- step_timeline.
CREATE OR REPLACE VIEW gap_summary AS
SELECT
  run_id, rank, device_index, step_id,
  COUNT(DISTINCT after_kernel_id) AS gaps,
  CAST(SUM(duration_ns) AS BIGINT) AS idle_ns,
  CAST(SUM(CASE WHEN cause = 'host_late' THEN duration_ns ELSE 0 END) AS BIGINT) AS host_late_ns,
  CAST(SUM(CASE WHEN cause = 'synchronisation' THEN duration_ns ELSE 0 END) AS BIGINT) AS synchronisation_ns,
  CAST(SUM(CASE WHEN cause = 'launch_latency' THEN duration_ns ELSE 0 END) AS BIGINT) AS launch_latency_ns,
  CAST(SUM(CASE WHEN cause = 'dependency' THEN duration_ns ELSE 0 END) AS BIGINT) AS dependency_ns,
  CAST(SUM(CASE WHEN cause = 'replay' THEN duration_ns ELSE 0 END) AS BIGINT) AS replay_ns,
  CAST(SUM(CASE WHEN cause = 'unknown' THEN duration_ns ELSE 0 END) AS BIGINT) AS unknown_ns,
  CAST(COALESCE(SUM(sync_ns), 0) AS BIGINT) AS sync_part_ns,
  CAST(COALESCE(SUM(host_ns), 0) AS BIGINT) AS host_part_ns,
  CAST(COALESCE(SUM(call_ns), 0) AS BIGINT) AS call_part_ns,
  CAST(COALESCE(SUM(queue_ns), 0) AS BIGINT) AS queue_part_ns
FROM gaps
GROUP BY run_id, rank, device_index, step_id;

-- Time that activities cover, by stream and step of a device; each sum is the length of a union.
CREATE OR REPLACE VIEW covered_time AS
SELECT
  run_id, rank, device_index, stream, step_id,
  COUNT(*) AS kernels,
  MIN(start_ns) AS start_ns,
  MAX(end_ns) AS end_ns,
  CAST(SUM(end_ns - start_ns) AS BIGINT) AS duration_ns,
  CAST(SUM(device_fresh_ns) AS BIGINT) AS device_fresh_ns,
  CAST(SUM(stream_fresh_ns) AS BIGINT) AS stream_fresh_ns,
  CAST(SUM(step_fresh_ns) AS BIGINT) AS step_fresh_ns
FROM coverage
GROUP BY run_id, rank, device_index, stream, step_id;

-- Time in which a stream worked while another stream of its device did. Devices with one stream have no row.
CREATE OR REPLACE VIEW shared_time AS
WITH several AS (
  SELECT run_id, rank, device_index
  FROM covered_time
  GROUP BY run_id, rank, device_index
  HAVING MIN(COALESCE(stream, -1)) < MAX(COALESCE(stream, -1))
),
covered AS (
  SELECT
    k.run_id, k.rank, k.device_index, k.stream, k.start_ns, k.start_ns + k.duration_ns AS end_ns,
    MAX(k.start_ns + k.duration_ns) OVER (
      PARTITION BY k.run_id, k.rank, k.device_index, k.stream
      ORDER BY k.start_ns, k.kernel_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS until_ns
  FROM kernels k
  JOIN several v ON v.run_id = k.run_id AND v.rank = k.rank AND v.device_index = k.device_index
),
-- the pieces of one stream are disjoint, so the number of pieces under way is the number of busy streams
pieces AS (
  SELECT run_id, rank, device_index, stream, GREATEST(start_ns, COALESCE(until_ns, start_ns)) AS start_ns, end_ns
  FROM covered
  WHERE end_ns > GREATEST(start_ns, COALESCE(until_ns, start_ns))
),
edges AS (
  SELECT run_id, rank, device_index, stream, start_ns AS time_ns, 1 AS change
  FROM pieces
  UNION ALL
  SELECT run_id, rank, device_index, stream, end_ns, -1
  FROM pieces
),
counted AS (
  SELECT
    e.*,
    SUM(change) OVER (
      PARTITION BY run_id, rank, device_index
      ORDER BY time_ns, change, stream ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS working,
    LEAD(time_ns) OVER (PARTITION BY run_id, rank, device_index ORDER BY time_ns, change, stream) - time_ns AS lasts_ns
  FROM edges e
),
shared_until AS (
  SELECT
    c.*,
    COALESCE(
      SUM(CASE WHEN working >= 2 THEN lasts_ns ELSE 0 END) OVER (
        PARTITION BY run_id, rank, device_index
        ORDER BY time_ns, change, stream ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
      ), 0
    ) AS shared_ns
  FROM counted c
)
SELECT run_id, rank, device_index, stream, CAST(SUM(-change * shared_ns) AS BIGINT) AS shared_ns
FROM shared_until
GROUP BY run_id, rank, device_index, stream;

-- One row per stream, from its first activity to its last: wall = busy + idle. overlap is time that activities of the stream
-- cover more than once; shared is the part of busy in which another stream of the device worked too.
CREATE OR REPLACE VIEW stream_summary AS
WITH streams AS (
  SELECT
    run_id, rank, device_index, stream,
    CAST(SUM(kernels) AS BIGINT) AS kernels,
    MIN(start_ns) AS start_ns,
    MAX(end_ns) AS end_ns,
    CAST(SUM(duration_ns) AS BIGINT) AS duration_ns,
    CAST(SUM(stream_fresh_ns) AS BIGINT) AS busy_ns
  FROM covered_time
  GROUP BY run_id, rank, device_index, stream
)
SELECT
  s.run_id, s.rank, s.device_index, s.stream, s.kernels, s.start_ns, s.end_ns,
  s.end_ns - s.start_ns AS wall_ns,
  s.busy_ns,
  s.end_ns - s.start_ns - s.busy_ns AS idle_ns,
  s.duration_ns - s.busy_ns AS overlap_ns,
  COALESCE(h.shared_ns, 0) AS shared_ns
FROM streams s
LEFT JOIN shared_time h
  ON h.run_id = s.run_id AND h.rank = s.rank AND h.device_index = s.device_index
  AND COALESCE(h.stream, -1) = COALESCE(s.stream, -1);

-- One row per device, from its first activity to its last: wall = busy + idle, idle = the sum of its gaps by cause. overlap
-- is time that activities cover more than once: the sum of durations = busy + overlap.
CREATE OR REPLACE VIEW device_timeline AS
WITH work AS (
  SELECT
    run_id, rank, device_index,
    CAST(SUM(kernels) AS BIGINT) AS kernels,
    MIN(start_ns) AS start_ns,
    MAX(end_ns) AS end_ns,
    CAST(SUM(duration_ns) AS BIGINT) AS duration_ns,
    CAST(SUM(device_fresh_ns) AS BIGINT) AS busy_ns
  FROM covered_time
  GROUP BY run_id, rank, device_index
),
idle AS (
  SELECT
    run_id, rank, device_index,
    CAST(SUM(idle_ns) AS BIGINT) AS idle_ns,
    CAST(SUM(host_late_ns) AS BIGINT) AS host_late_ns,
    CAST(SUM(synchronisation_ns) AS BIGINT) AS synchronisation_ns,
    CAST(SUM(launch_latency_ns) AS BIGINT) AS launch_latency_ns,
    CAST(SUM(dependency_ns) AS BIGINT) AS dependency_ns,
    CAST(SUM(replay_ns) AS BIGINT) AS replay_ns,
    CAST(SUM(unknown_ns) AS BIGINT) AS unknown_ns
  FROM gap_summary
  GROUP BY run_id, rank, device_index
)
SELECT
  w.run_id, w.rank, w.device_index, w.kernels, w.start_ns, w.end_ns,
  w.end_ns - w.start_ns AS wall_ns,
  w.busy_ns,
  COALESCE(i.idle_ns, 0) AS idle_ns,
  w.duration_ns - w.busy_ns AS overlap_ns,
  COALESCE(i.host_late_ns, 0) AS host_late_ns,
  COALESCE(i.synchronisation_ns, 0) AS synchronisation_ns,
  COALESCE(i.launch_latency_ns, 0) AS launch_latency_ns,
  COALESCE(i.dependency_ns, 0) AS dependency_ns,
  COALESCE(i.replay_ns, 0) AS replay_ns,
  COALESCE(i.unknown_ns, 0) AS unknown_ns
FROM work w
LEFT JOIN idle i ON i.run_id = w.run_id AND i.rank = w.rank AND i.device_index = w.device_index;

-- Time of a step on a device, from its first activity there to its last.
CREATE OR REPLACE VIEW step_work AS
SELECT
  run_id, rank, device_index, step_id,
  CAST(SUM(kernels) AS BIGINT) AS kernels,
  MIN(start_ns) AS start_ns,
  MAX(end_ns) AS end_ns,
  CAST(SUM(step_fresh_ns) AS BIGINT) AS busy_ns
FROM covered_time
WHERE step_id IS NOT NULL
GROUP BY run_id, rank, device_index, step_id;

-- Time in which a device ran nothing during a step, by cause: sums over the gaps up to the step's end less those up to its
-- start. An activity begins at the start and one ends at the end, so that no gap lies across either. Steps that overlap
-- count their common gaps each.
CREATE OR REPLACE VIEW step_idle AS
WITH moments AS (
  SELECT
    run_id, rank, device_index, CAST(NULL AS BIGINT) AS step_id, start_ns AS time_ns, 0 AS edge, cause, duration_ns
  FROM gaps
  UNION ALL
  SELECT run_id, rank, device_index, step_id, start_ns, -1, '', 0
  FROM step_work
  UNION ALL
  SELECT run_id, rank, device_index, step_id, end_ns, 1, '', 0
  FROM step_work
),
-- the number of edges so far; at equal times edges come before the gap that begins there
numbered AS (
  SELECT
    *,
    COUNT(step_id) OVER (
      PARTITION BY run_id, rank, device_index
      ORDER BY time_ns, ABS(edge) DESC ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS edges
  FROM moments
),
-- an edge and the gaps up to the next one: sums over few rows, where sums over all gaps would be a window for each cause
stretches AS (
  SELECT
    run_id, rank, device_index, edges, MAX(step_id) AS step_id, SUM(edge) AS edge,
    SUM(CASE WHEN cause = 'host_late' THEN duration_ns ELSE 0 END) AS host_late_ns,
    SUM(CASE WHEN cause = 'synchronisation' THEN duration_ns ELSE 0 END) AS synchronisation_ns,
    SUM(CASE WHEN cause = 'launch_latency' THEN duration_ns ELSE 0 END) AS launch_latency_ns,
    SUM(CASE WHEN cause = 'dependency' THEN duration_ns ELSE 0 END) AS dependency_ns,
    SUM(CASE WHEN cause = 'replay' THEN duration_ns ELSE 0 END) AS replay_ns,
    SUM(CASE WHEN cause = 'unknown' THEN duration_ns ELSE 0 END) AS unknown_ns
  FROM numbered
  GROUP BY run_id, rank, device_index, edges
),
summed AS (
  SELECT
    run_id, rank, device_index, step_id, edge,
    COALESCE(SUM(host_late_ns) OVER earlier, 0) AS host_late_ns,
    COALESCE(SUM(synchronisation_ns) OVER earlier, 0) AS synchronisation_ns,
    COALESCE(SUM(launch_latency_ns) OVER earlier, 0) AS launch_latency_ns,
    COALESCE(SUM(dependency_ns) OVER earlier, 0) AS dependency_ns,
    COALESCE(SUM(replay_ns) OVER earlier, 0) AS replay_ns,
    COALESCE(SUM(unknown_ns) OVER earlier, 0) AS unknown_ns
  FROM stretches
  WINDOW earlier AS (
    PARTITION BY run_id, rank, device_index ORDER BY edges ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
  )
)
SELECT
  run_id, rank, device_index, step_id,
  CAST(SUM(edge * host_late_ns) AS BIGINT) AS host_late_ns,
  CAST(SUM(edge * synchronisation_ns) AS BIGINT) AS synchronisation_ns,
  CAST(SUM(edge * launch_latency_ns) AS BIGINT) AS launch_latency_ns,
  CAST(SUM(edge * dependency_ns) AS BIGINT) AS dependency_ns,
  CAST(SUM(edge * replay_ns) AS BIGINT) AS replay_ns,
  CAST(SUM(edge * unknown_ns) AS BIGINT) AS unknown_ns
FROM summed
WHERE step_id IS NOT NULL
GROUP BY run_id, rank, device_index, step_id;

-- The part of the gaps just before and just after a step's activities in which the step's label was open on the host: what
-- the device waited for the step to begin and to end. All rows of such a gap name the same activity before it.
CREATE OR REPLACE VIEW step_waits AS
WITH around AS (
  SELECT w.run_id, w.rank, w.device_index, w.step_id, s.host_start_ns AS since_ns, w.start_ns AS until_ns, g.before_kernel_id
  FROM step_work w
  JOIN steps s ON s.run_id = w.run_id AND s.rank = w.rank AND s.step_id = w.step_id
  JOIN gaps g
    ON g.run_id = w.run_id AND g.rank = w.rank AND g.device_index = w.device_index
    AND g.start_ns + g.duration_ns = w.start_ns
  UNION ALL
  SELECT
    w.run_id, w.rank, w.device_index, w.step_id, w.end_ns, s.host_start_ns + s.host_duration_ns, g.before_kernel_id
  FROM step_work w
  JOIN steps s ON s.run_id = w.run_id AND s.rank = w.rank AND s.step_id = w.step_id
  JOIN gaps g
    ON g.run_id = w.run_id AND g.rank = w.rank AND g.device_index = w.device_index AND g.start_ns = w.end_ns
),
beside AS (
  SELECT
    a.run_id, a.rank, a.device_index, a.step_id, g.cause,
    LEAST(g.start_ns + g.duration_ns, a.until_ns) - GREATEST(g.start_ns, a.since_ns) AS wait_ns
  FROM around a
  JOIN gaps g
    ON g.run_id = a.run_id AND g.rank = a.rank AND g.device_index = a.device_index
    AND g.before_kernel_id = a.before_kernel_id
)
SELECT run_id, rank, device_index, step_id, cause, CAST(SUM(wait_ns) AS BIGINT) AS wait_ns
FROM beside
WHERE wait_ns > 0
GROUP BY run_id, rank, device_index, step_id, cause;

-- One row per step and device, from its first activity there to its last: wall = busy + causes + outside. Under a cause is
-- the time in which the device ran nothing at all; outside is the time in which it ran only activities of other steps or of
-- none. A step on several devices has a row for each; in steps, busy is the time in which any of them ran an activity of
-- the step, and idle the time in which none of them ran anything.
CREATE OR REPLACE VIEW step_timeline AS
SELECT
  w.run_id, w.rank, w.device_index, w.step_id, s.phase, s.kind, s.step, w.kernels, w.start_ns, w.end_ns,
  w.end_ns - w.start_ns AS wall_ns,
  w.busy_ns,
  COALESCE(i.host_late_ns, 0) AS host_late_ns,
  COALESCE(i.synchronisation_ns, 0) AS synchronisation_ns,
  COALESCE(i.launch_latency_ns, 0) AS launch_latency_ns,
  COALESCE(i.dependency_ns, 0) AS dependency_ns,
  COALESCE(i.replay_ns, 0) AS replay_ns,
  COALESCE(i.unknown_ns, 0) AS unknown_ns,
  w.end_ns - w.start_ns - w.busy_ns
    - COALESCE(i.host_late_ns + i.synchronisation_ns + i.launch_latency_ns + i.dependency_ns + i.replay_ns + i.unknown_ns, 0)
    AS outside_ns
FROM step_work w
JOIN steps s ON s.run_id = w.run_id AND s.rank = w.rank AND s.step_id = w.step_id
LEFT JOIN step_idle i
  ON i.run_id = w.run_id AND i.rank = w.rank AND i.device_index = w.device_index AND i.step_id = w.step_id;

-- Wait of each activity after its launch: queue from the start of the launching call, delay from its end (negative if the
-- activity started before the call returned). Nodes of a graph wait from the launch of the graph, behind the nodes before
-- them.
CREATE OR REPLACE VIEW launch_queue AS
SELECT
  k.run_id, k.kernel_id, k.rank, k.device_index, k.stream, c.kernel, c.category, k.step_id,
  COALESCE(s.phase, c.phase) AS phase, s.kind, s.step,
  k.correlation, k.launch_ns,
  k.launch_duration_ns AS call_ns,
  k.start_ns,
  k.start_ns - k.launch_ns AS queue_ns,
  k.start_ns - k.launch_ns - k.launch_duration_ns AS delay_ns
FROM kernels k
JOIN kernel_classes c ON c.run_id = k.run_id AND c.class_id = k.class_id
LEFT JOIN steps s ON s.run_id = k.run_id AND s.rank = k.rank AND s.step_id = k.step_id
WHERE k.launch_ns IS NOT NULL;

CREATE OR REPLACE VIEW launch_summary AS
SELECT
  run_id, phase, kind,
  COUNT(*) AS kernels,
  MIN(queue_ns) AS queue_min_ns,
  MEDIAN(queue_ns) AS queue_p50_ns,
  QUANTILE_CONT(queue_ns, 0.9) AS queue_p90_ns,
  QUANTILE_CONT(queue_ns, 0.99) AS queue_p99_ns,
  MAX(queue_ns) AS queue_max_ns,
  MEDIAN(call_ns) AS call_p50_ns,
  QUANTILE_CONT(call_ns, 0.99) AS call_p99_ns
FROM launch_queue
GROUP BY run_id, phase, kind;
