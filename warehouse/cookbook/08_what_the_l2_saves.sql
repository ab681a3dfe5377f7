-- What does the L2 save?
-- Bytes of inputs and outputs that never reached DRAM, by family: by counters where a run has them, else by the L2
-- model. Negative if tiles are read again.
SELECT
  r.name, b.family, b.kernels, b.compulsory_bytes / 1e6 AS compulsory_mb,
  COALESCE(b.counter_dram_bytes, b.cache_model_bytes) / 1e6 AS dram_mb,
  CASE WHEN b.counter_dram_bytes IS NOT NULL THEN 'counter' ELSE 'cache_model' END AS source,
  1 - COALESCE(b.counter_dram_bytes, b.cache_model_bytes) / b.compulsory_bytes AS saved
FROM byte_sources b
JOIN runs r ON r.run_id = b.run_id
WHERE b.compulsory_bytes > 0 AND COALESCE(b.counter_dram_bytes, b.cache_model_bytes) IS NOT NULL
ORDER BY r.name, compulsory_mb DESC;
