-- All ceilings of a run: measured on its device, and from the datasheet of its device.
SELECT c.run_id, c.resource, c.level, c.unit, c.precision, c.value, c.unit_of_value, c.source, c.method, c.measured_on
FROM ceilings c
WHERE list_contains($runs, c.run_id)
UNION ALL
SELECT d.run_id, c.resource, c.level, c.unit, c.precision, c.value, c.unit_of_value, c.source, c.method, c.measured_on
FROM (SELECT DISTINCT run_id, datasheet FROM devices WHERE list_contains($runs, run_id)) d
JOIN ceilings c ON c.run_id IS NULL AND c.device = d.datasheet
ORDER BY run_id, resource, level, unit, precision, value DESC, source, method
