-- Attention of a step in E9, in ms, at its roof, and in percent of the roof. cudnn_percent is the part of its time in cuDNN's kernels.
SELECT r.mode, k.kind, r.prompt_tokens AS prompt, ROUND(SUM(k.duration_ns) / 1e6 / COUNT(DISTINCT k.step), 2) AS attention_ms,
  ROUND(SUM(k.roof_time_ns) / 1e6 / COUNT(DISTINCT k.step), 2) AS roof_ms, CAST(100 * SUM(k.roof_time_ns) / SUM(k.duration_ns) AS INTEGER) AS percent_of_roof,
  CAST(100 * SUM(k.duration_ns) FILTER (k.kernel LIKE '%cudnn%') / SUM(k.duration_ns) AS INTEGER) AS cudnn_percent
FROM kernel_roofline k
JOIN runs r ON r.run_id = k.run_id
WHERE r.experiment = 'e9-lengths' AND k.family = 'attention' AND k.kind IN ('reuse', 'decode') AND r.prompt_tokens > 8000
GROUP BY r.mode, k.kind, r.prompt_tokens
ORDER BY r.mode, r.prompt_tokens
