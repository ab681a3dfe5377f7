-- How much time is bound by memory, compute or latency?
-- latency is time in kernels too short for any roof to matter: fewer, larger kernels help them, not faster memory.
SELECT
  name, bound, COUNT(*) AS kernels, SUM(duration_ns) / 1e6 AS duration_ms,
  AVG(roof_fraction) AS mean_roof_fraction
FROM kernel_roofline
GROUP BY name, bound
ORDER BY name, duration_ms DESC;
