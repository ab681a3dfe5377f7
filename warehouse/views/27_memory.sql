-- One row per step and device whose memory changed in it, from the bins of the table memory; the phase, kind and step are NULL
-- for changes outside steps.
CREATE OR REPLACE VIEW memory_summary AS
WITH placed AS (
  SELECT
    *,
    ROW_NUMBER() OVER (PARTITION BY run_id, rank, device_kind, device_index, step_id ORDER BY memory_id) AS from_first,
    ROW_NUMBER() OVER (PARTITION BY run_id, rank, device_kind, device_index, step_id ORDER BY memory_id DESC) AS from_last,
    ROW_NUMBER() OVER (
      PARTITION BY run_id, rank, device_kind, device_index, step_id ORDER BY COALESCE(largest_bytes, 0) DESC, memory_id
    ) AS by_size
  FROM memory
)
SELECT
  m.run_id, m.rank, m.device_kind, m.device_index, s.phase, s.kind, s.step,
  CAST(SUM(m.changes) AS BIGINT) AS changes,
  MAX(CASE WHEN m.from_first = 1 THEN m.before_bytes END) AS before_bytes,
  MAX(CASE WHEN m.from_last = 1 THEN m.after_bytes END) AS after_bytes,
  MAX(CASE WHEN m.from_last = 1 THEN m.after_bytes END) - MAX(CASE WHEN m.from_first = 1 THEN m.before_bytes END) AS kept_bytes,
  MAX(m.peak_bytes) AS peak_bytes,
  MAX(m.reserved_bytes) AS reserved_bytes,
  CAST(SUM(m.allocated_bytes) AS BIGINT) AS allocated_bytes,
  MAX(m.largest_bytes) AS largest_bytes,
  MAX(CASE WHEN m.by_size = 1 THEN m.largest_operator END) AS largest_operator
FROM placed m
LEFT JOIN steps s ON s.run_id = m.run_id AND s.step_id = m.step_id
GROUP BY m.run_id, m.rank, m.device_kind, m.device_index, m.step_id, s.phase, s.kind, s.step;
