-- Collectives of a run by kind, message size and number of ranks. A kernel waits for the ranks that come late, so the shortest
-- launch comes closest to what the link does: the rates are of its time. algorithm_bytes_per_s is the message size over that
-- time, bus_bytes_per_s the bytes over the link over it, as nccl-tests reports them. A collective whose message is unknown
-- has neither.
CREATE OR REPLACE VIEW collective_summary AS
SELECT
  k.run_id, s.collective, s.message_bytes, s.ranks,
  COUNT(*) AS kernels,
  CAST(SUM(k.duration_ns) AS BIGINT) AS duration_ns,
  MIN(k.duration_ns) AS shortest_ns,
  MAX(k.duration_ns) AS longest_ns,
  MAX(s.link_bytes) AS link_bytes,
  s.message_bytes / NULLIF(MIN(k.duration_ns), 0) * 1000000000 AS algorithm_bytes_per_s,
  MAX(s.link_bytes) / NULLIF(MIN(k.duration_ns), 0) * 1000000000 AS bus_bytes_per_s
FROM kernels k
JOIN kernel_classes c ON c.run_id = k.run_id AND c.class_id = k.class_id
LEFT JOIN signatures s ON s.signature_id = c.signature_id
WHERE c.family = 'communication' AND c.category NOT IN ('memcpy', 'memset')
GROUP BY k.run_id, s.collective, s.message_bytes, s.ranks;
