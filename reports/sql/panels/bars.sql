$selection
SELECT $label AS label, family, SUM(launches) AS launches, SUM($value) AS $value
FROM selection
GROUP BY $label, family
HAVING SUM($value) > 0
ORDER BY $value DESC
