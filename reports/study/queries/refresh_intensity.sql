-- Intensity of naive steps and refreshes by the positions attended to, batch 1: counted, else by the cache model. LLaDA-8B, but for the
-- two counted at 8,192 positions, which are LLaMA-3-8B with 8 and with 32 KV heads.
SELECT CAST(ROUND(length) AS INTEGER) AS length, REPLACE(bytes_source, '_', ' ') AS bytes, COUNT(*) AS kinds, CAST(MIN(intensity) AS INTEGER) AS least,
  CAST(MAX(intensity) AS INTEGER) AS most, CAST(MEDIAN(predicted_intensity) AS INTEGER) AS closed_form
FROM step_costs
WHERE batch = 1 AND kind IN ('refresh', 'denoise') AND mode IN ('dlm_full', 'dlm_block_dual') AND experiment IN ('e3-intensity', 'gqa', 'e9-lengths')
  AND length > 1000
GROUP BY ALL
ORDER BY length, bytes
