-- The naive mode's step for one sequence of 160 positions, eager, in three sweeps, and what a batch of 128 gains over it and over
-- a batch of 4, per sequence.
WITH steps AS (
  SELECT c.experiment, c.batch, c.step_ns
  FROM step_costs c
  WHERE c.mode = 'dlm_full' AND c.prompt_tokens = 128 AND c.generated_tokens = 32 AND c.model = 'llada-8b'
),
large AS (
  SELECT MAX(step_ns) FILTER (batch = 128) / 128 AS one_of_128, MAX(step_ns) FILTER (batch = 4) / 4 AS one_of_4
  FROM steps
  WHERE experiment = 'e6-throughput'
)
SELECT ROUND(MIN(step_ns) / 1e6, 1) AS least_ms, ROUND(MAX(step_ns) / 1e6, 1) AS most_ms, ROUND(MIN(step_ns) / ANY_VALUE(one_of_128), 1) AS gain_least,
  ROUND(MAX(step_ns) / ANY_VALUE(one_of_128), 1) AS gain_most, ROUND(ANY_VALUE(one_of_4 / one_of_128), 1) AS gain_from_4
FROM steps, large
WHERE batch = 1
