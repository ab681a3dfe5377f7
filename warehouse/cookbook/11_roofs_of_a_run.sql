-- Which roofs does a run answer to?
-- Ceilings that hold for it, and whether they were measured or are a datasheet's.
SELECT r.name, f.resource, f.level, f.unit, f.precision, f.value, f.source
FROM roofs f
JOIN runs r ON r.run_id = f.run_id
ORDER BY r.name, f.resource, f.level, f.unit, f.precision;
