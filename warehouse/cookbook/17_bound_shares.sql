-- How much time is bound by memory, compute or latency?
-- bound is what a kernel reached at least half of. latency is time of kernels too short for any roof to matter: fewer and
-- larger kernels reduce it, faster memory does not. none is time far from every roof.
SELECT
  name, bound, COUNT(*) AS kernels, SUM(duration_ns) / 1e6 AS duration_ms,
  AVG(roof_fraction) AS mean_roof_fraction
FROM kernel_roofline
GROUP BY name, bound
ORDER BY name, duration_ms DESC;
