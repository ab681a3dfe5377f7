-- Prefills of E9's longest prompts in ms: AR's causal flag against block-causal's mask tensor, with which attention computes all pairs.
SELECT mode, CAST(ROUND(length) AS INTEGER) AS length, CAST(step_ns / 1e6 AS INTEGER) AS ms, CAST(floor_ns / 1e6 AS INTEGER) AS roof_ms
FROM step_costs
WHERE experiment = 'e9-lengths' AND kind = 'prefill' AND length > 32000
ORDER BY mode
