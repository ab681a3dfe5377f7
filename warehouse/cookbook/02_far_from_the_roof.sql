-- What is far from its roof, and worth the work?
-- Operators by the time that reaching the roof would save. saved_us is of one step, and 0 where the step waits for
-- the host.
SELECT
  r.name, d.item AS operator, d.kind, d.share, d.lost_ns / d.duration_ns AS lost_share, d.bound,
  d.saved_ns / 1e3 AS saved_us, d.worth
FROM deviations d
JOIN runs r ON r.run_id = d.run_id
WHERE d.level = 'operator' AND d.basis = 'roof'
ORDER BY d.lost_ns DESC
LIMIT 20;
