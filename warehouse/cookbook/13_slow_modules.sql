-- Which modules take the time?
-- Modules by device time. The layers of a model are summed: their numbers become *.
SELECT
  r.name, l.all_layers AS module, SUM(m.kernels) AS kernels,
  SUM(m.duration_ns) / 1e6 AS duration_ms,
  SUM(m.share) AS share, SUM(m.lost_ns) / 1e6 AS lost_ms, SUM(m.guessed_ns) / 1e6 AS guessed_ms,
  SUM(m.communication_ns) / 1e6 AS communication_ms
FROM module_summary m
JOIN runs r ON r.run_id = m.run_id
LEFT JOIN module_layers l ON l.run_id = m.run_id AND l.module = m.module
GROUP BY r.name, l.all_layers
ORDER BY r.name, duration_ms DESC;
