-- Did power or heat throttle the device?
-- Telemetry while the run generated. throttled is the share of samples with a throttle reason.
SELECT
  r.name, COUNT(*) AS samples, AVG(t.power_w) AS mean_w, MAX(t.power_w) AS most_w,
  MIN(t.sm_clock_hz) / 1e6 AS least_mhz, MAX(t.temperature_c) AS hottest_c,
  AVG(CASE WHEN COALESCE(t.throttle_reasons, '0') = '0' THEN 0 ELSE 1 END) AS throttled
FROM telemetry t
JOIN runs r ON r.run_id = t.run_id
GROUP BY r.name
ORDER BY r.name;
