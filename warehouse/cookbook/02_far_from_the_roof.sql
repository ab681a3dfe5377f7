-- Which operators are far from the roof and worth optimizing?
-- Operators by the time lost against the roof, without guessed prices and communication. saved_us is an upper limit for the time that one step would save, and 0
-- if the step waits for the host.
SELECT
  r.name, d.item AS operator, d.kind, d.share, d.lost_ns / d.duration_ns AS lost_share, d.nearest_roof,
  d.saved_ns / 1e3 AS saved_us, d.worth
FROM deviations d
JOIN runs r ON r.run_id = d.run_id
WHERE d.level = 'operator' AND d.basis = 'roof'
ORDER BY d.lost_ns DESC
LIMIT 20;
