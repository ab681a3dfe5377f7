-- How is device time divided between matmul, attention and the rest?
-- Device time of a run by family of operators.
SELECT
  name, family, COUNT(*) AS kernels, SUM(duration_ns) / 1e6 AS duration_ms,
  SUM(duration_ns) / SUM(SUM(duration_ns)) OVER (PARTITION BY name) AS share
FROM kernel_roofline
GROUP BY name, family
ORDER BY name, duration_ms DESC;
