-- How is device time divided between matmul, attention and the rest?
-- Device time of a run by family of operators.
SELECT
  r.name, o.family, CAST(SUM(o.kernels) AS BIGINT) AS kernels, SUM(o.duration_ns) / 1e6 AS duration_ms,
  SUM(o.duration_ns) / SUM(SUM(o.duration_ns)) OVER (PARTITION BY r.name) AS share
FROM operator_summary o
JOIN runs r ON r.run_id = o.run_id
GROUP BY r.name, o.family
ORDER BY r.name, duration_ms DESC;
