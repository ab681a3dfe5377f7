-- Which kernels are padded?
-- Executed FLOPs that the algorithm does not need: 0.875 if one row fills a tile of eight. Needs counters.
SELECT
  r.name, p.kernel, p.operator, COUNT(*) AS launches,
  1 - SUM(p.algorithm_flops) / SUM(p.counter_flops) AS padding, SUM(p.duration_ns) / 1e3 AS us
FROM padding p
JOIN runs r ON r.run_id = p.run_id
GROUP BY r.name, p.kernel, p.operator
ORDER BY padding DESC, us DESC;
