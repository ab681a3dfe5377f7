-- Runs that are ranks of one job. A job with fewer ranks than its world size was recorded or loaded in part.
CREATE OR REPLACE VIEW jobs AS
SELECT
  job_id,
  MAX(world_size) AS world_size,
  COUNT(DISTINCT rank) AS ranks,
  MAX(hosts) AS hosts,
  CAST(SUM(device_time_ns) AS BIGINT) AS device_time_ns
FROM runs
WHERE job_id IS NOT NULL
GROUP BY job_id;
