-- Which library ran attention in the whole study: runs and device time.
SELECT CASE WHEN k.kernel LIKE '%cudnn%' THEN 'cuDNN' WHEN k.kernel LIKE 'triton%' THEN 'FlexAttention (block-sparse runs)' ELSE 'other' END AS backend,
  COUNT(DISTINCT k.run_id) AS runs, CAST(SUM(k.duration_ns) / 1e6 AS INTEGER) AS device_ms
FROM kernel_roofline k
WHERE k.family = 'attention' AND k.kernel NOT LIKE 'Memset%'
GROUP BY backend
ORDER BY device_ms DESC
