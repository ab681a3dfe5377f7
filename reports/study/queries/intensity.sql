-- FLOPs over counted DRAM bytes of each kind of step, E4's two models, 128 tokens after 1,024, eager, beside the closed forms.
SELECT CASE WHEN kind = 'decode' THEN 'AR decode' WHEN kind = 'prefill' THEN 'prefill' WHEN kind IN ('denoise', 'refresh') THEN 'naive step, refresh'
    WHEN mode = 'dlm_block_prefix' THEN 'block of 32 and its suffix' ELSE 'block of 32' END AS step, COUNT(*) AS kinds, ROUND(MIN(intensity), 1) AS counted_least,
  ROUND(MAX(intensity), 1) AS counted_most, ROUND(MIN(predicted_intensity), 1) AS corrected_least, ROUND(MAX(predicted_intensity), 1) AS corrected_most,
  CAST(ROUND(100 * MIN(predicted_intensity / intensity - 1)) AS INTEGER) AS least_error_percent,
  CAST(ROUND(100 * MAX(predicted_intensity / intensity - 1)) AS INTEGER) AS most_error_percent
FROM step_costs
WHERE experiment = 'e4-roofline' AND options IN ('', 's8-8-8-8') AND intensity IS NOT NULL
GROUP BY step
ORDER BY counted_least
