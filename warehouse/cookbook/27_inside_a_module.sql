-- What does everything inside each module take?
-- A module's time is that of the kernels whose path of modules begins with its path, its own and those of modules inside it.
SELECT
  r.name, o.module, o.module_class, SUM(m.kernels) AS kernels,
  SUM(m.duration_ns) / 1e6 AS duration_ms, SUM(m.share) AS share, SUM(m.lost_ns) / 1e6 AS lost_ms,
  SUM(m.guessed_ns) / 1e6 AS guessed_ms, SUM(m.communication_ns) / 1e6 AS communication_ms
FROM modules o
JOIN runs r ON r.run_id = o.run_id
JOIN module_summary m ON m.run_id = o.run_id AND STARTS_WITH(CONCAT(m.module, '.'), CONCAT(o.module, '.'))
GROUP BY r.name, o.module, o.module_class
ORDER BY r.name, duration_ms DESC, o.module;
