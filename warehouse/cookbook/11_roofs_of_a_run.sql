-- Which roofs apply to a run?
-- The ceilings that apply to it, and whether they were measured or come from a datasheet.
SELECT r.name, f.resource, f.level, f.unit, f.precision, f.value, f.source
FROM roofs f
JOIN runs r ON r.run_id = f.run_id
ORDER BY r.name, f.resource, f.level, f.unit, f.precision;
