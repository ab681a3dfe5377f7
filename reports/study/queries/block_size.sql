-- E5: 256 tokens after 1,024, CUDA graphs, by block size, with the intensity of a reuse step.
SELECT mode, block, ROUND(latency_ns / 1e9, 2) AS seconds, ROUND(reuse_ns / 1e6, 2) AS reuse_ms, ROUND(intensity, 1) AS intensity, ROUND(predicted_intensity, 1) AS closed_form
FROM figure_e5_block_size
WHERE experiment = 'e5-block-size' AND execution = 'cuda_graph'
ORDER BY mode, block
