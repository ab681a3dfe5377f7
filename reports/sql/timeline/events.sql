-- Every event of stretches of time, named run_id/from_ns/to_ns by the trace's clock. lane is stream (an activity of a device),
-- gap (idle time of a device, by cause), thread (an operator on the host) or step. An activity's launch_ns is the start of its
-- launch on `thread`, the thread of the operator that launched it. Without a device, operators take the place of activities.
WITH windows AS (
  SELECT
    SPLIT_PART(name, '/', 1) AS run_id, CAST(SPLIT_PART(name, '/', 2) AS BIGINT) AS from_ns,
    CAST(SPLIT_PART(name, '/', 3) AS BIGINT) AS to_ns
  FROM (SELECT UNNEST($windows) AS name)
),
own_kernels AS (
  SELECT k.*
  FROM kernels k
  SEMI JOIN windows w ON w.run_id = k.run_id AND k.start_ns < w.to_ns AND k.start_ns + k.duration_ns > w.from_ns
),
own_operators AS (
  SELECT o.*
  FROM operators o
  SEMI JOIN windows w ON w.run_id = o.run_id AND o.start_ns < w.to_ns AND o.start_ns + o.duration_ns > w.from_ns
),
launching AS (
  SELECT run_id, operator_id, thread
  FROM operators o
  SEMI JOIN own_kernels k ON k.run_id = o.run_id AND k.operator_id = o.operator_id
)
SELECT
  'stream' AS lane, k.run_id, k.rank, k.device_index, k.stream, l.thread, k.start_ns, k.duration_ns, k.launch_ns,
  k.launch_duration_ns, c.kernel AS name, c.family, g.operator, g.shapes, m.all_layers AS module, c.attribution,
  COALESCE(s.phase, c.phase) AS phase, s.kind,
  NULL AS sync_ns, NULL AS host_ns, NULL AS call_ns, NULL AS queue_ns
FROM own_kernels k
JOIN runs r ON r.run_id = k.run_id
JOIN kernel_classes c ON c.run_id = k.run_id AND c.class_id = k.class_id
LEFT JOIN signatures g ON g.signature_id = c.signature_id
LEFT JOIN module_layers m ON m.run_id = c.run_id AND m.module = c.module
LEFT JOIN steps s ON s.run_id = k.run_id AND s.rank = k.rank AND s.step_id = k.step_id
LEFT JOIN launching l ON l.run_id = k.run_id AND l.operator_id = k.operator_id
WHERE r.device_kind <> 'cpu' OR l.thread IS NULL
UNION ALL
SELECT
  'gap', k.run_id, k.rank, k.device_index, NULL, NULL, k.start_ns, k.duration_ns, NULL, NULL, k.cause, NULL, NULL, NULL, NULL,
  NULL, NULL, NULL, k.sync_ns, k.host_ns, k.call_ns, k.queue_ns
FROM gaps k
JOIN runs r ON r.run_id = k.run_id
SEMI JOIN windows w ON w.run_id = k.run_id AND k.start_ns < w.to_ns AND k.start_ns + k.duration_ns > w.from_ns
WHERE r.device_kind <> 'cpu'
UNION ALL
SELECT
  'thread', o.run_id, o.rank, NULL, NULL, o.thread, o.start_ns, o.duration_ns, NULL, NULL, o.operator, g.family, g.operator,
  g.shapes, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM own_operators o
LEFT JOIN signatures g ON g.signature_id = o.signature_id
UNION ALL
SELECT
  'step', s.run_id, s.rank, NULL, NULL, NULL, s.start_ns, s.end_ns - s.start_ns, NULL, NULL,
  CONCAT_WS(' ', COALESCE(s.phase, s.kind, 'step'), CASE WHEN s.kind <> s.phase THEN s.kind END, COALESCE(s.step, s.iteration)), NULL,
  NULL, NULL, NULL, NULL, s.phase, s.kind, NULL, NULL, NULL, NULL
FROM steps s
SEMI JOIN windows w ON w.run_id = s.run_id AND s.start_ns < w.to_ns AND s.end_ns > w.from_ns
ORDER BY lane, run_id, rank, device_index, stream, thread, start_ns, duration_ns DESC, name
