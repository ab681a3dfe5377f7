-- The ceilings that apply to a run: a value measured for it, else the datasheet's. Of several measurements of one resource
-- the best counts (for DRAM, the read bandwidth).
CREATE OR REPLACE VIEW roofs AS
WITH candidates AS (
  SELECT c.run_id, c.resource, c.level, c.unit, c.precision, c.value, c.source, 0 AS preference
  FROM ceilings c
  WHERE c.run_id IS NOT NULL
  UNION ALL
  SELECT d.run_id, c.resource, c.level, c.unit, c.precision, c.value, c.source, 1 AS preference
  FROM (SELECT DISTINCT run_id, datasheet FROM devices WHERE datasheet IS NOT NULL) d
  JOIN ceilings c ON c.run_id IS NULL AND c.device = d.datasheet
),
ranked AS (
  SELECT *, ROW_NUMBER() OVER (
    PARTITION BY run_id, resource, level, unit, precision
    ORDER BY preference, CASE WHEN resource = 'latency' THEN value ELSE -value END
  ) AS place
  FROM candidates
)
SELECT run_id, resource, level, unit, precision, value, source
FROM ranked
WHERE place = 1;
