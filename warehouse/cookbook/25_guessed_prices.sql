-- Which prices are guesses?
-- Operators priced with low confidence, by the time of their kernels: the first to check, or to write a rule for.
SELECT k.name, k.operator, s.method, COUNT(*) AS kernels, SUM(k.duration_ns) / 1e6 AS duration_ms
FROM kernel_roofline k
JOIN kernels f ON f.run_id = k.run_id AND f.kernel_id = k.kernel_id
JOIN kernel_classes c ON c.run_id = f.run_id AND c.class_id = f.class_id
LEFT JOIN signatures s ON s.signature_id = c.signature_id
WHERE k.confidence = 'low'
GROUP BY k.name, k.operator, s.method
ORDER BY duration_ms DESC;
