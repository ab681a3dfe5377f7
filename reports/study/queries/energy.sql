-- Joules a token at one token a step, the whole card, and its mean power: 128 tokens after 1,024, bf16.
SELECT mode, ROUND(MAX(joules_per_token) FILTER (execution = 'eager'), 2) AS eager_j, ROUND(MAX(joules_per_token) FILTER (execution = 'cuda_graph'), 2) AS graph_j,
  ROUND(MAX(joules_per_token) FILTER (execution = 'compile'), 2) AS compiled_j, CAST(MAX(mean_power_w) FILTER (execution = 'eager') AS INTEGER) AS eager_w,
  CAST(MAX(mean_power_w) FILTER (execution = 'compile') AS INTEGER) AS compiled_w
FROM figure_energy
WHERE experiment = 'modes-8b' AND generated_tokens = 128 AND options = ''
GROUP BY mode
ORDER BY compiled_j
