$selection
SELECT module, operator, attribution, kernel, SUM(launches) AS launches, SUM(duration_ns) AS duration_ns
FROM selection
GROUP BY module, operator, attribution, kernel
ORDER BY duration_ns DESC
