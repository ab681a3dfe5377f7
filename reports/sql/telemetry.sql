-- Power, clocks and temperature during timing; at_ns counts from the first sample.
SELECT
  run_id,
  time_ns - MIN(time_ns) OVER (PARTITION BY run_id) AS at_ns,
  power_w, sm_clock_hz, memory_clock_hz, temperature_c, throttle_reasons
FROM telemetry
WHERE list_contains($runs, run_id)
ORDER BY run_id, at_ns
