-- What runs above its roof, and why?
-- No kernel can exceed the device: diagnosis names the wrong number, or what the L2 served.
SELECT
  name, diagnosis, dram_bytes_source, COUNT(*) AS kernels, SUM(duration_ns) / 1e3 AS us,
  MAX(roof_fraction) AS worst
FROM kernel_roofline
WHERE roof_fraction > 1
GROUP BY name, diagnosis, dram_bytes_source
ORDER BY us DESC;
