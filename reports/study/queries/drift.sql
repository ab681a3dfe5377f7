-- Drift of naive steps within a generation of 128: the mean of steps 8 to 31 against that of steps 96 to 127, in percent. It bounds
-- the error of generations projected from 32 steps.
WITH means AS (
  SELECT g.run_id, AVG(t.value_ns) FILTER (t.step BETWEEN 8 AND 31) AS early_ns, AVG(t.value_ns) FILTER (t.step BETWEEN 32 AND 63) AS middle_ns,
    AVG(t.value_ns) FILTER (t.step >= 96) AS late_ns
  FROM timings t
  JOIN generations g ON g.run_id = t.run_id
  WHERE t.metric = 'step' AND g.mode = 'dlm_full' AND g.steps = 128
  GROUP BY g.run_id
)
SELECT COUNT(*) AS runs, ROUND(100 * MAX(GREATEST(ABS(late_ns / early_ns - 1), ABS(middle_ns / early_ns - 1))), 1) AS worst_percent
FROM means
