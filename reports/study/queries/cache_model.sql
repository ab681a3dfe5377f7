-- The cache model's DRAM bytes against counted ones, error in percent: of whole runs, then by family of kernels.
WITH bytes AS (
  SELECT run_id, family, SUM(counter_dram_bytes) AS counted, SUM(cache_model_bytes) AS modelled
  FROM kernel_roofline
  WHERE counter_dram_bytes > 0 AND cache_model_bytes IS NOT NULL
  GROUP BY run_id, family
),
errors AS (
  SELECT 'whole runs' AS family, run_id, SUM(modelled) / SUM(counted) - 1 AS error, SUM(counted) AS counted FROM bytes GROUP BY run_id
  UNION ALL
  SELECT family, run_id, modelled / counted - 1, counted FROM bytes
)
SELECT family, COUNT(*) AS runs, CAST(ROUND(100 * MIN(error)) AS INTEGER) AS least_percent, CAST(ROUND(100 * MAX(error)) AS INTEGER) AS most_percent,
  COUNT(*) FILTER (ABS(error) <= 0.06) AS within_6_percent
FROM errors
GROUP BY family
ORDER BY SUM(counted) DESC, family
