-- One row per run, including failed runs: settings, speed, and shares of the machine's peaks.
SELECT
  r.run_id, r.name, r.experiment, r.device, r.device_kind, r.mode, r.execution, r.model, r.dtype, r.batch, r.prompt_tokens,
  r.generated_tokens, r.block, r.steps, m.step_ns, m.tokens_per_s, m.ttft_ns, l.kernels, r.device_time_ns, m.intensity,
  m.mfu, m.mbu, m.busy_share, m.joules_per_token, r.peak_memory_bytes, r.outcome,
  COALESCE(r.message, w.message) AS message, CASE WHEN w.run_id IS NOT NULL THEN 'partial' END AS recording
FROM runs r
JOIN mode_summary m ON m.run_id = r.run_id
LEFT JOIN (
  SELECT run_id, COUNT(*) AS kernels FROM kernels WHERE list_contains($runs, run_id) GROUP BY run_id
) l ON l.run_id = r.run_id
LEFT JOIN (
  SELECT run_id, MIN(message) AS message FROM warnings WHERE source = 'salvage' GROUP BY run_id
) w ON w.run_id = r.run_id
WHERE list_contains($runs, r.run_id)
ORDER BY r.experiment, r.model, r.mode, r.name, r.run_id
