-- Which modules take the time?
-- Modules by device time. Layers are aggregated: digits in a module's name become *.
SELECT
  r.name, REGEXP_REPLACE(m.module, '[0-9]+', '*', 'g') AS module, SUM(m.kernels) AS kernels,
  SUM(m.duration_ns) / 1e6 AS duration_ms,
  SUM(m.share) AS share, SUM(m.lost_ns) / 1e6 AS lost_ms
FROM module_summary m
JOIN runs r ON r.run_id = m.run_id
GROUP BY r.name, REGEXP_REPLACE(m.module, '[0-9]+', '*', 'g')
ORDER BY r.name, duration_ms DESC;
