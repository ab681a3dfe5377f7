-- Naive over blocks, stage by stage of the waterfalls, where both runs were captured in the same sweep (128 tokens after 1,024).
SELECT f.mode, f.execution, ROUND(MAX(f.speedup) FILTER (f.stage = 1), 2) AS ideal_step, ROUND(MAX(f.speedup) FILTER (f.stage = 2), 2) AS with_refreshes,
  ROUND(MAX(f.speedup) FILTER (f.stage = 3), 2) AS kernels_at_roofs, ROUND(MAX(f.speedup) FILTER (f.stage = 4), 2) AS kernels_as_they_ran,
  ROUND(MAX(f.speedup) FILTER (f.stage = 5), 2) AS measured, ROUND(ANY_VALUE(n.low_ns / b.high_ns), 2) AS least, ROUND(ANY_VALUE(n.high_ns / b.low_ns), 2) AS most
FROM figure_speedup f
JOIN generations b ON b.run_id = f.run_id
JOIN generations n ON n.run_id = f.naive_run_id
JOIN ceilings s ON s.run_id = f.run_id AND s.source = 'measured' AND s.unit = 'tensor' AND s.precision = 'bf16'
JOIN ceilings q ON q.run_id = f.naive_run_id AND q.source = 'measured' AND q.unit = 'tensor' AND q.precision = 'bf16' AND q.value = s.value
WHERE f.experiment = 'modes-8b' AND f.generated_tokens = 128
GROUP BY f.mode, f.execution
ORDER BY f.mode, f.execution
