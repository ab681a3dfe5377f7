-- For every kind of step its time, what limits it, and a diagnosis.
SELECT
  run_id, phase, kind, steps, kernels, device_time_ns, busy_ns, wall_ns, unprofiled_ns, step_ns, basis, idle_ns, bound,
  confidence, diagnosis
FROM step_diagnosis
WHERE list_contains($runs, run_id)
ORDER BY run_id, phase, kind
