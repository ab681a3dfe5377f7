-- E3: intensity of a reuse step by block size over all lengths captured, dual cache, counted.
SELECT block, COUNT(*) AS lengths, CAST(MIN(length) AS INTEGER) AS shortest, CAST(MAX(length) AS INTEGER) AS longest, ROUND(MIN(intensity), 1) AS least,
  ROUND(MAX(intensity), 1) AS most
FROM figure_e3_intensity
WHERE experiment = 'e3-intensity' AND mode = 'dlm_block_dual' AND kind = 'reuse'
GROUP BY block
ORDER BY block
