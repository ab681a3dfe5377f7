-- Sampling (greedy, softmax in float32) as percent of the latency, CUDA graphs, by mode; and the most over the study.
SELECT ROUND(100 * MAX(share) FILTER (mode = 'dlm_full' AND experiment = 'modes-8b'), 1) AS naive_percent,
  ROUND(100 * MAX(share) FILTER (mode = 'dlm_block_dual' AND experiment = 'modes-8b'), 1) AS dual_percent,
  ROUND(100 * MAX(share) FILTER (mode = 'ar' AND experiment = 'modes-8b'), 1) AS ar_percent, ROUND(100 * MAX(share), 1) AS most_percent
FROM figure_e2_split
WHERE part = 'sampling' AND execution = 'cuda_graph'
