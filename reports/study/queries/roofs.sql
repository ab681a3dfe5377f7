-- Roofs of the H200 as measured before the sweeps, in percent of the datasheet.
SELECT CASE WHEN c.level = 'dram' THEN 'DRAM bandwidth' ELSE 'bf16 products' END AS roof, COUNT(DISTINCT c.value) AS measured_times,
  CAST(100 * MIN(c.value / d.value) AS INTEGER) AS least_percent, CAST(100 * MAX(c.value / d.value) AS INTEGER) AS most_percent
FROM ceilings c
JOIN ceilings d ON d.run_id IS NULL AND d.device = 'NVIDIA H200' AND d.resource = c.resource AND COALESCE(d.level, '') = COALESCE(c.level, '')
  AND COALESCE(d.unit, '') = COALESCE(c.unit, '') AND COALESCE(d.precision, '') = COALESCE(c.precision, '')
WHERE c.run_id IS NOT NULL AND c.source = 'measured' AND (c.level = 'dram' OR (c.unit = 'tensor' AND c.precision = 'bf16'))
GROUP BY roof
ORDER BY roof
