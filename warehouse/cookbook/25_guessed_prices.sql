-- Which prices are guesses?
-- Operators priced with low confidence, by the time of their kernels: the first to check, or to write a rule for.
WITH by_class AS (
  SELECT run_id, class_id, trace_bytes IS NULL AS without_trace_bytes, COUNT(*) AS kernels, SUM(duration_ns) AS duration_ns
  FROM kernels
  GROUP BY run_id, class_id, trace_bytes IS NULL
)
SELECT r.name, s.operator, s.method, CAST(SUM(k.kernels) AS BIGINT) AS kernels, SUM(k.duration_ns) / 1e6 AS duration_ms
FROM by_class k
JOIN runs r ON r.run_id = k.run_id
JOIN kernel_classes c ON c.run_id = k.run_id AND c.class_id = k.class_id
LEFT JOIN signatures s ON s.signature_id = c.signature_id
WHERE s.confidence = 'low' OR (s.confidence IS NULL AND k.without_trace_bytes)
GROUP BY r.name, s.operator, s.method
ORDER BY duration_ms DESC;
