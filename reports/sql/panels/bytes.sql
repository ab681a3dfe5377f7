$selection
SELECT
  family,
  SUM(launches) AS launches,
  SUM(CASE WHEN counter_bytes IS NOT NULL THEN launches ELSE 0 END) AS counted,
  SUM(duration_ns) AS duration_ns,
  SUM(compulsory_bytes) AS compulsory_bytes,
  SUM(cache_model_bytes) AS cache_model_bytes,
  SUM(counter_bytes) AS counter_bytes,
  SUM(CASE WHEN counter_bytes IS NOT NULL THEN compulsory_bytes END)
    / NULLIF(SUM(CASE WHEN compulsory_bytes IS NOT NULL THEN counter_bytes END), 0) - 1 AS compulsory_error,
  SUM(CASE WHEN counter_bytes IS NOT NULL THEN cache_model_bytes END)
    / NULLIF(SUM(CASE WHEN cache_model_bytes IS NOT NULL THEN counter_bytes END), 0) - 1 AS cache_model_error
FROM selection
GROUP BY family
ORDER BY duration_ns DESC
