-- Kernels and gaps of steps, with the cause of each gap. Steps are named run_id/step_id; at_ns counts from the step's first
-- activity. Kernels have a NULL cause.
WITH chosen AS (
  SELECT run_id, step_id, start_ns FROM steps WHERE list_contains($steps, run_id || '/' || step_id)
)
SELECT
  k.run_id, k.step_id, k.device_index, k.stream, NULL AS cause, k.start_ns - s.start_ns AS at_ns, k.duration_ns,
  c.kernel, c.family, g.operator, g.shapes, m.all_layers AS module, c.attribution,
  NULL AS sync_ns, NULL AS host_ns, NULL AS call_ns, NULL AS queue_ns
FROM kernels k
JOIN chosen s ON s.run_id = k.run_id AND s.step_id = k.step_id
JOIN kernel_classes c ON c.run_id = k.run_id AND c.class_id = k.class_id
LEFT JOIN signatures g ON g.signature_id = c.signature_id
LEFT JOIN module_layers m ON m.run_id = c.run_id AND m.module = c.module
UNION ALL
SELECT
  k.run_id, k.step_id, k.device_index, NULL, k.cause, k.start_ns - s.start_ns, k.duration_ns,
  NULL, NULL, NULL, NULL, NULL, NULL, k.sync_ns, k.host_ns, k.call_ns, k.queue_ns
FROM gaps k
JOIN chosen s ON s.run_id = k.run_id AND s.step_id = k.step_id
ORDER BY run_id, step_id, at_ns, duration_ns
