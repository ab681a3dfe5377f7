-- Settings and environment of the runs, to list how they differ. `used_peaks` are pairs of compute unit and precision.
-- `named_share` is the part of device time with an operator, `replayed_share` the part of kernels that graphs replayed.
SELECT
  r.run_id, r.name, r.experiment, r.device, r.device_kind, r.mode, r.execution, r.model, r.dtype, r.batch, r.prompt_tokens,
  r.generated_tokens, r.block, r.steps, r.parameters, r.torch_version, r.transformers_version, r.cuda_version,
  r.driver_version, t.sm_clock_hz, t.repeats, r.outcome, r.message, COALESCE(k.kernels, 0) AS kernels, k.named_share,
  p.replayed_kernels / k.kernels AS replayed_share, u.used_peaks
FROM runs r
LEFT JOIN (
  SELECT
    k.run_id, COUNT(*) AS kernels,
    SUM(CASE WHEN c.signature_id IS NOT NULL THEN k.duration_ns ELSE 0 END) / NULLIF(SUM(k.duration_ns), 0) AS named_share
  FROM kernels k
  JOIN kernel_classes c ON c.run_id = k.run_id AND c.class_id = k.class_id
  WHERE LIST_CONTAINS($runs, k.run_id)
  GROUP BY k.run_id
) k ON k.run_id = r.run_id
LEFT JOIN (SELECT run_id, SUM(replayed_kernels) AS replayed_kernels FROM steps GROUP BY run_id) p ON p.run_id = r.run_id
LEFT JOIN (
  SELECT run_id, STRING_AGG(DISTINCT unit || ' ' || precision, ', ') AS used_peaks FROM kernel_classes GROUP BY run_id
) u ON u.run_id = r.run_id
LEFT JOIN (
  SELECT c.run_id, c.sm_clock_hz, n.repeats
  FROM (SELECT run_id, MEDIAN(sm_clock_hz) AS sm_clock_hz FROM telemetry GROUP BY run_id) c
  LEFT JOIN (SELECT run_id, COUNT(DISTINCT "repeat") AS repeats FROM timings WHERE metric = 'step' GROUP BY run_id) n
    ON n.run_id = c.run_id
) t ON t.run_id = r.run_id
WHERE LIST_CONTAINS($runs, r.run_id)
ORDER BY r.name, r.run_id
