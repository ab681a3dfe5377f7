-- Time by module, all layers of a model summed.
SELECT
  run_id, phase, kind, family,
  REGEXP_REPLACE(module, '\.[0-9]+', '.*', 'g') AS module,
  COUNT(*) AS launches,
  SUM(duration_ns) AS duration_ns
FROM kernel_roofline
WHERE list_contains($runs, run_id)
GROUP BY run_id, phase, kind, family, REGEXP_REPLACE(module, '\.[0-9]+', '.*', 'g')
ORDER BY duration_ns DESC, run_id, module, family, phase, kind
