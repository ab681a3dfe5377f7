-- Each configuration of the study: its runs, the sweeps that captured them, and how often the card was throttled while timed.
-- A sweep captures one configuration or more; it measures the roofs before its first run, so runs with the same measured roof belong to one.
SELECT COALESCE(g.experiment, 'all') AS experiment, COUNT(*) AS runs, COUNT(*) FILTER (g.outcome = 'oom') AS out_of_memory, COUNT(DISTINCT s.value) AS sweeps,
  MIN(g.repeats) AS least_repeats, CAST(100 * AVG(g.throttled_share) AS INTEGER) AS throttled_percent
FROM generations g
JOIN ceilings s ON s.run_id = g.run_id AND s.source = 'measured' AND s.unit = 'tensor' AND s.precision = 'bf16'
GROUP BY ROLLUP (g.experiment)
ORDER BY g.experiment NULLS LAST
