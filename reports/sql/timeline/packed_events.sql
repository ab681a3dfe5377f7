-- Events that differ in time alone as one row with lists, in order of time: as the page holds them.
SELECT
  lane, run_id, rank, device_index, stream, thread, name, family, operator, shapes, module, attribution, phase, kind,
  LIST(start_ns ORDER BY start_ns, duration_ns, launch_ns) AS start_ns,
  LIST(duration_ns ORDER BY start_ns, duration_ns, launch_ns) AS duration_ns,
  LIST(start_ns - launch_ns ORDER BY start_ns, duration_ns, launch_ns) AS since_launch_ns,
  LIST(launch_duration_ns ORDER BY start_ns, duration_ns, launch_ns) AS launch_duration_ns,
  LIST(sync_ns ORDER BY start_ns, duration_ns, launch_ns) AS sync_ns,
  LIST(host_ns ORDER BY start_ns, duration_ns, launch_ns) AS host_ns,
  LIST(call_ns ORDER BY start_ns, duration_ns, launch_ns) AS call_ns,
  LIST(queue_ns ORDER BY start_ns, duration_ns, launch_ns) AS queue_ns
FROM ($rows)
GROUP BY ALL
ORDER BY lane, run_id, rank, device_index, stream, thread, name, family, operator, shapes, module, attribution, phase, kind
