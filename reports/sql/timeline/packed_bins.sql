-- Bins as one row for each lane and name, with lists in order of time: as the page holds them.
SELECT
  lane, run_id, rank, device_index, stream, thread, name, duration_ns AS bin_ns,
  LIST(start_ns ORDER BY start_ns) AS start_ns, LIST(covered_ns ORDER BY start_ns) AS covered_ns
FROM ($rows)
GROUP BY ALL
ORDER BY lane, run_id, rank, device_index, stream, thread, name
