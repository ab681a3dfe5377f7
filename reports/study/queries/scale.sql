-- 34B and 70B shapes in CUDA graphs: 4 and 8 of their layers, each in a sweep of its own, the whole model from the difference. least and
-- most put both at opposite ends of their repeats; the difference is multiplied up to (layers - 8) / 4 times.
WITH depth AS (
  SELECT model, mode, kind, (CASE model WHEN 'llama-34b' THEN 48 ELSE 80 END - 8) / 4 AS factor,
    MAX(step_ns) FILTER (options = 'layers8') / 1e6 AS eight, MAX(low_ns) FILTER (options = 'layers8') / 1e6 AS eight_low,
    MAX(high_ns) FILTER (options = 'layers8') / 1e6 AS eight_high, MAX(step_ns) FILTER (options = 'layers4') / 1e6 AS four,
    MAX(low_ns) FILTER (options = 'layers4') / 1e6 AS four_low, MAX(high_ns) FILTER (options = 'layers4') / 1e6 AS four_high,
    MAX(floor_ns) FILTER (options = 'layers8') / 1e6 AS roof_eight, MAX(floor_ns) FILTER (options = 'layers4') / 1e6 AS roof_four
  FROM step_costs
  WHERE experiment = 'scale'
  GROUP BY model, mode, kind
)
SELECT model, mode, kind, CAST(factor AS INTEGER) AS factor, ROUND(eight + factor * (eight - four), 1) AS whole_ms, ROUND(eight_low + factor * (eight_low - four_high), 1) AS least,
  ROUND(eight_high + factor * (eight_high - four_low), 1) AS most, ROUND(roof_eight + factor * (roof_eight - roof_four), 1) AS roof_ms
FROM depth
WHERE kind IN ('decode', 'reuse', 'refresh', 'denoise')
ORDER BY model, mode, kind
