-- Where are the longest gaps, and between which kernels?
-- The device was idle from the end of one kernel to the start of the next. cause names what it waited for.
SELECT
  r.name, g.duration_ns / 1e3 AS us, g.cause, b.kernel AS before_kernel, a.kernel AS after_kernel, g.step_id
FROM gaps g
JOIN runs r ON r.run_id = g.run_id
JOIN kernel_roofline b ON b.run_id = g.run_id AND b.kernel_id = g.before_kernel_id
JOIN kernel_roofline a ON a.run_id = g.run_id AND a.kernel_id = g.after_kernel_id
ORDER BY g.duration_ns DESC
LIMIT 20;
