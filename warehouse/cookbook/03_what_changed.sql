-- What changed between two runs?
-- Operators of a kind of step side by side, with the time of one step in each run. Set the names of the two runs in
-- the first lines; as written, the two runs with the most device time are compared.
WITH sides AS (
  SELECT MIN(name) AS base, MAX(name) AS other
  FROM (SELECT name FROM runs ORDER BY device_time_ns DESC LIMIT 2) two
),
steps_of AS (
  SELECT run_id, kind, COUNT(*) AS steps FROM steps GROUP BY run_id, kind
),
a_step AS (
  SELECT
    k.name, k.kind, COALESCE(k.operator, '(' || k.attribution || ')') AS operator,
    SUM(k.duration_ns) / MAX(s.steps) AS ns
  FROM kernel_roofline k
  JOIN steps_of s ON s.run_id = k.run_id AND s.kind = k.kind
  WHERE k.run_id IN (SELECT r.run_id FROM runs r JOIN sides ON r.name IN (base, other))
  GROUP BY k.name, k.kind, COALESCE(k.operator, '(' || k.attribution || ')')
)
SELECT
  kind, operator,
  SUM(CASE WHEN name = base THEN ns END) / 1e3 AS base_us,
  SUM(CASE WHEN name = other THEN ns END) / 1e3 AS other_us,
  SUM(CASE WHEN name = other THEN ns WHEN name = base THEN -ns END) / 1e3 AS change_us
FROM a_step
CROSS JOIN sides
WHERE name IN (base, other)
GROUP BY kind, operator
ORDER BY ABS(change_us) DESC;
