-- How much do steps of a kind vary?
-- Unprofiled times over steps and repeats. A difference smaller than this spread means nothing.
SELECT
  r.name, t.kind, COUNT(*) AS samples, MEDIAN(t.value_ns) / 1e3 AS median_us,
  MIN(t.value_ns) / 1e3 AS least_us, MAX(t.value_ns) / 1e3 AS most_us,
  QUANTILE_CONT(t.value_ns, 0.95) / 1e3 AS p95_us
FROM timings t
JOIN runs r ON r.run_id = t.run_id
WHERE t.metric = 'step'
GROUP BY r.name, t.kind
ORDER BY r.name, t.kind;
