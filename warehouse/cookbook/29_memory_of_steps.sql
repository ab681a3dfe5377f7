-- Which steps need the most memory, and for what?
-- Peak and kept memory of each kind of step, for runs recorded with `--memory`. kept_mb above 0 in every step is a leak or a
-- growing cache; largest_operator made the largest allocation.
SELECT
  r.name, m.rank, m.device_kind, m.phase, m.kind, COUNT(*) AS steps, MAX(m.peak_bytes) / 1e6 AS peak_mb,
  AVG(m.kept_bytes) / 1e6 AS kept_mb, MAX(m.largest_bytes) / 1e6 AS largest_mb,
  ARG_MAX(m.largest_operator, m.largest_bytes) AS largest_operator
FROM memory_summary m
JOIN runs r ON r.run_id = m.run_id
GROUP BY r.name, m.rank, m.device_kind, m.phase, m.kind
ORDER BY peak_mb DESC;
