-- Which shapes dominate?
-- Operators and the shapes of their inputs by device time.
SELECT
  name, operator, shapes, COUNT(*) AS kernels, SUM(duration_ns) / 1e6 AS duration_ms,
  SUM(flops) / SUM(dram_bytes) AS intensity
FROM kernel_roofline
WHERE operator IS NOT NULL
GROUP BY name, operator, shapes
ORDER BY duration_ms DESC
LIMIT 20;
