-- Naive over blocks, whole generations in eager execution, within E2's one eager sweep. least and most pair opposite ends of
-- the repeats.
SELECT b.mode, b.generated_tokens AS generated, ROUND(n.latency_ns / b.latency_ns, 2) AS naive_over_block, ROUND(n.low_ns / b.high_ns, 2) AS least,
  ROUND(n.high_ns / b.low_ns, 2) AS most
FROM generations b
JOIN generations n ON n.experiment = b.experiment AND n.mode = 'dlm_full' AND n.generated_tokens = b.generated_tokens AND n.steps = n.generated_tokens
WHERE b.experiment = 'e2-latency' AND b.execution = 'eager' AND b.mode LIKE 'dlm_block_%'
ORDER BY b.generated_tokens, b.mode
