-- Time by module, all layers of a model summed.
SELECT
  k.run_id, phase, kind, family,
  m.all_layers AS module,
  COUNT(*) AS launches,
  SUM(duration_ns) AS duration_ns
FROM kernel_roofline k
LEFT JOIN module_layers m ON m.run_id = k.run_id AND m.module = k.module
WHERE list_contains($runs, k.run_id)
GROUP BY k.run_id, phase, kind, family, m.all_layers
ORDER BY duration_ns DESC, k.run_id, m.all_layers, family, phase, kind
