-- Intensity of naive steps and refreshes by the positions attended to, batch 1, LLaDA-8B: counted, else by the cache model.
SELECT CAST(ROUND(length) AS INTEGER) AS length, REPLACE(bytes_source, '_', ' ') AS bytes, COUNT(*) AS kinds, CAST(MIN(intensity) AS INTEGER) AS least,
  CAST(MAX(intensity) AS INTEGER) AS most, CAST(MEDIAN(predicted_intensity) AS INTEGER) AS closed_form
FROM step_costs
WHERE batch = 1 AND kind IN ('refresh', 'denoise') AND mode IN ('dlm_full', 'dlm_block_dual') AND experiment IN ('e3-intensity', 'gqa', 'e9-lengths')
  AND length > 1000
GROUP BY ALL
ORDER BY length, bytes
