-- The accounts of the study: kernels, those no account explains, and the largest difference of a step's kernels and gaps from its wall time.
SELECT SUM(kernels) FILTER (account = 'attribution') AS kernels, SUM(kernels) FILTER (account = 'attribution' AND entry = 'unattributed') AS unattributed,
  CAST(100 * SUM(duration_ns) FILTER (entry = 'counter') / SUM(duration_ns) FILTER (account = 'price') AS INTEGER) AS counted_percent,
  (SELECT COUNT(*) FROM step_summary) AS steps, (SELECT MAX(ABS(busy_ns + gap_ns - wall_ns)) FROM step_summary) AS largest_difference_ns
FROM ledger
