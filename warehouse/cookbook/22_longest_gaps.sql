-- Where are the longest gaps, and between which kernels?
-- The device was idle from the end of one kernel to the start of the next. causes names what it waited for, in order of
-- time.
WITH whole AS (
  SELECT
    run_id, rank, device_index, step_id, before_kernel_id, after_kernel_id, SUM(duration_ns) AS duration_ns,
    STRING_AGG(cause || ' ' || CAST(ROUND(duration_ns / 1e3) AS BIGINT) || ' us', ', ' ORDER BY start_ns) AS causes
  FROM gaps
  GROUP BY run_id, rank, device_index, step_id, before_kernel_id, after_kernel_id
),
longest AS (
  SELECT * FROM whole ORDER BY duration_ns DESC, run_id, after_kernel_id LIMIT 20
)
SELECT
  r.name, g.duration_ns / 1e3 AS us, g.causes, bc.kernel AS before_kernel, ac.kernel AS after_kernel, g.step_id
FROM longest g
JOIN runs r ON r.run_id = g.run_id
JOIN kernels b ON b.run_id = g.run_id AND b.kernel_id = g.before_kernel_id
JOIN kernel_classes bc ON bc.run_id = b.run_id AND bc.class_id = b.class_id
JOIN kernels a ON a.run_id = g.run_id AND a.kernel_id = g.after_kernel_id
JOIN kernel_classes ac ON ac.run_id = a.run_id AND ac.class_id = a.class_id
ORDER BY g.duration_ns DESC, g.run_id, g.after_kernel_id;
