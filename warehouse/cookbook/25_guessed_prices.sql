-- Which prices are guesses?
-- Operators priced with low confidence, by the time of their kernels: the first to check, or to write a rule for. Prices of
-- high confidence by which kernels exceed their roof count too: worst says by how much.
WITH by_class AS (
  SELECT run_id, class_id, COUNT(*) AS kernels, SUM(duration_ns) AS duration_ns, MAX(roof_fraction) AS worst
  FROM placed_kernels
  WHERE confidence = 'low'
  GROUP BY run_id, class_id
)
SELECT
  r.name, s.operator, s.method, CAST(SUM(k.kernels) AS BIGINT) AS kernels, SUM(k.duration_ns) / 1e6 AS duration_ms,
  MAX(k.worst) AS worst
FROM by_class k
JOIN runs r ON r.run_id = k.run_id
JOIN kernel_classes c ON c.run_id = k.run_id AND c.class_id = k.class_id
LEFT JOIN signatures s ON s.signature_id = c.signature_id
GROUP BY r.name, s.operator, s.method
ORDER BY duration_ms DESC;
