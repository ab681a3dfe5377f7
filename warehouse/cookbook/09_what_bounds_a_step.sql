-- Is a step bound by the device or by the host?
-- By the unprofiled step if it was timed. confidence is low where only the trace supports the answer.
SELECT
  r.name, d.kind, d.bound, d.confidence, d.step_ns / 1e3 AS step_us, d.busy_ns / 1e3 AS busy_us, d.idle_share,
  d.diagnosis
FROM step_diagnosis d
JOIN runs r ON r.run_id = d.run_id
ORDER BY r.name, d.kind;
