-- How far are modelled bytes from counted bytes?
-- Relative errors over the kernels that have both. Needs counters.
SELECT
  r.name, b.family, b.counted_kernels, b.counter_dram_bytes / 1e6 AS counted_mb, b.compulsory_error,
  b.cache_model_error
FROM byte_sources b
JOIN runs r ON r.run_id = b.run_id
WHERE b.counted_kernels > 0
ORDER BY r.name, counted_mb DESC;
