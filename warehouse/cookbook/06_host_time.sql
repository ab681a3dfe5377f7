-- Why is the device idle?
-- Idle time of the device by cause. The profiler slows the host several times: step_diagnosis has the bound without
-- it.
SELECT
  r.name, d.device_index, d.wall_ns / 1e6 AS wall_ms, d.idle_ns / d.wall_ns AS idle_share,
  d.host_late_ns / 1e6 AS host_late_ms,
  d.synchronisation_ns / 1e6 AS synchronisation_ms, d.launch_latency_ns / 1e6 AS launch_latency_ms,
  d.dependency_ns / 1e6 AS dependency_ms, d.replay_ns / 1e6 AS replay_ms, d.unknown_ns / 1e6 AS unknown_ms
FROM device_timeline d
JOIN runs r ON r.run_id = d.run_id
WHERE d.wall_ns > 0
ORDER BY d.idle_ns DESC;
