-- What fills the device's memory?
-- Peak memory of captured runs by part, including runs that ran out of memory.
SELECT
  name, outcome, batch, weights_bytes / 1e9 AS weights_gb, cache_bytes / 1e9 AS cache_gb,
  other_bytes / 1e9 AS other_gb, peak_memory_bytes / 1e9 AS peak_gb
FROM runs
WHERE peak_memory_bytes IS NOT NULL
ORDER BY peak_gb DESC;
