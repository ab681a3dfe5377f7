-- Every kind of step: how long, what it waits for, and what a shorter kernel would be worth in it.
SELECT
  run_id, phase, kind, steps, kernels, device_time_ns, busy_ns, wall_ns, unprofiled_ns, step_ns, basis, idle_ns, bound,
  confidence, diagnosis
FROM step_diagnosis
WHERE list_contains($runs, run_id)
ORDER BY run_id, phase, kind
