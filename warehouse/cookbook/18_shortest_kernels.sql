-- Which kernels would be worth fusing?
-- Kernels so short that launching them is what they cost, by how many there are.
SELECT
  name, operator, kernel, COUNT(*) AS launches, MEDIAN(duration_ns) AS median_ns,
  SUM(duration_ns) / 1e6 AS duration_ms
FROM kernel_roofline
WHERE bound = 'latency'
GROUP BY name, operator, kernel
ORDER BY launches DESC
LIMIT 20;
