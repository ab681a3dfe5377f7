-- Which kernels should be fused?
-- Kernels so short that the launch is most of their cost, by number of launches.
SELECT
  name, operator, kernel, COUNT(*) AS launches, MEDIAN(duration_ns) AS median_ns,
  SUM(duration_ns) / 1e6 AS duration_ms
FROM kernel_roofline
WHERE bound = 'latency'
GROUP BY name, operator, kernel
ORDER BY launches DESC
LIMIT 20;
