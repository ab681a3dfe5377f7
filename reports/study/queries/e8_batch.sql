-- E8: intensity by batch, 32 tokens after 128, eager, counted, and the closed form.
SELECT mode, kind, block, batch, ROUND(intensity, 1) AS intensity, ROUND(predicted_intensity, 1) AS closed_form
FROM figure_e8_batch
WHERE experiment = 'e8-batch' AND kind IN ('decode', 'reuse', 'denoise')
ORDER BY mode, kind, block, batch
