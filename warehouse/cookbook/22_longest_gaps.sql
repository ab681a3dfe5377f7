-- Where are the longest gaps, and between which kernels?
-- The device was idle from the end of one kernel to the start of the next. cause names what it waited for.
WITH longest AS (
  SELECT * FROM gaps ORDER BY duration_ns DESC, run_id, gap_id LIMIT 20
)
SELECT
  r.name, g.duration_ns / 1e3 AS us, g.cause, bc.kernel AS before_kernel, ac.kernel AS after_kernel, g.step_id
FROM longest g
JOIN runs r ON r.run_id = g.run_id
JOIN kernels b ON b.run_id = g.run_id AND b.kernel_id = g.before_kernel_id
JOIN kernel_classes bc ON bc.run_id = b.run_id AND bc.class_id = b.class_id
JOIN kernels a ON a.run_id = g.run_id AND a.kernel_id = g.after_kernel_id
JOIN kernel_classes ac ON ac.run_id = a.run_id AND ac.class_id = a.class_id
ORDER BY g.duration_ns DESC, g.run_id, g.gap_id;
