-- E2, latency a token as the generation grows from 128 to 512 tokens after 1,024, each pair within one sweep (the naive mode's 512
-- and 2,048 tokens projected from 32 steps).
SELECT a.mode, a.execution, b.generated_tokens AS generated, ROUND(b.latency_ns / a.latency_ns, 2) AS times_the_latency,
  CAST(b.generated_tokens / a.generated_tokens AS INTEGER) AS times_the_tokens, ROUND((b.latency_ns / b.generated_tokens) / (a.latency_ns / a.generated_tokens), 2) AS a_token,
  ROUND((b.low_ns / b.generated_tokens) / (a.high_ns / a.generated_tokens), 2) AS least, ROUND((b.high_ns / b.generated_tokens) / (a.low_ns / a.generated_tokens), 2) AS most
FROM figure_e2_latency a
JOIN figure_e2_latency b ON b.experiment = a.experiment AND b.mode = a.mode AND b.execution = a.execution AND b.generated_tokens > a.generated_tokens
JOIN ceilings s ON s.run_id = a.run_id AND s.source = 'measured' AND s.unit = 'tensor' AND s.precision = 'bf16'
JOIN ceilings t ON t.run_id = b.run_id AND t.source = 'measured' AND t.unit = 'tensor' AND t.precision = 'bf16' AND t.value = s.value
WHERE a.experiment = 'e2-latency' AND a.generated_tokens = 128 AND (a.mode, a.execution) IN (('dlm_full', 'eager'), ('dlm_block_dual', 'cuda_graph'), ('dlm_block_causal', 'cuda_graph'))
ORDER BY a.mode DESC, b.generated_tokens
