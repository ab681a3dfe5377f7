-- 8 against 32 KV heads, all else equal, CUDA graphs, one sweep (gqa): a decoding or reuse step in ms and GB.
SELECT batch, CAST(ROUND(length) AS INTEGER) AS length, mode, kind, ROUND(MAX(step_ns) FILTER (options LIKE '%kv8') / 1e6, 2) AS kv8_ms,
  ROUND(MAX(step_ns) FILTER (options LIKE '%kv32') / 1e6, 2) AS kv32_ms, ROUND(MAX(dram_bytes) FILTER (options LIKE '%kv8') / 1e9, 1) AS kv8_gb,
  ROUND(MAX(dram_bytes) FILTER (options LIKE '%kv32') / 1e9, 1) AS kv32_gb
FROM step_costs
WHERE experiment = 'gqa' AND kind IN ('decode', 'reuse')
GROUP BY batch, length, mode, kind
ORDER BY batch, mode
