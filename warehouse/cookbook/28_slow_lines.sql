-- Which lines of my code take the time?
-- Device time by the innermost line of the user's code; traces recorded with_stack=True have lines.
SELECT
  r.name, s.source_line, s.function, s.kernels, s.duration_ns / 1e6 AS duration_ms, s.share, s.lost_ns / 1e6 AS lost_ms,
  s.guessed_ns / 1e6 AS guessed_ms, s.communication_ns / 1e6 AS communication_ms
FROM stack_summary s
JOIN runs r ON r.run_id = s.run_id
ORDER BY s.duration_ns DESC
LIMIT 20;
