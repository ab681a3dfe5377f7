$chosen
SELECT module, operator, attribution, kernel, SUM(launches) AS launches, SUM(duration_ns) AS duration_ns
FROM chosen
GROUP BY module, operator, attribution, kernel
ORDER BY duration_ns DESC
