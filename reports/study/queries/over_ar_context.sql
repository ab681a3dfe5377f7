-- The mean step of each mode over an AR step, by the positions attended to, batch 1, one token a step: as measured (E9, CUDA graphs, naive
-- steps eager) and at the measured roofs. A dual block is one refresh and 31 reuse steps, a block-causal one 32 reuse steps and a commit,
-- which costs as much. Naive steps under 1,000 positions are the host's and are left out. E9 was captured in two sweeps.
WITH steps AS (
  SELECT mode, kind, length, step_ns, floor_ns
  FROM step_costs
  WHERE experiment = 'e9-lengths'
),
means AS (
  SELECT r.mode, r.length, (31 * r.step_ns + f.step_ns) / 32 AS step_ns, (31 * r.floor_ns + f.floor_ns) / 32 AS floor_ns
  FROM steps r
  JOIN steps f ON f.mode = r.mode AND f.length = r.length AND f.kind = 'refresh'
  WHERE r.kind = 'reuse'
  UNION ALL
  SELECT mode, length, 33 * step_ns / 32, 33 * floor_ns / 32
  FROM steps
  WHERE mode = 'dlm_block_causal' AND kind = 'reuse'
  UNION ALL
  SELECT mode, length, step_ns, floor_ns
  FROM steps
  WHERE kind = 'denoise' AND length > 1000
)
SELECT m.mode, CAST(ROUND(m.length) AS INTEGER) AS length, ROUND(m.step_ns / a.step_ns, 2) AS over_ar, ROUND(m.floor_ns / a.floor_ns, 2) AS at_roofs
FROM means m
JOIN steps a ON a.kind = 'decode' AND ABS(a.length - m.length) < 0.2 * m.length
ORDER BY m.mode, m.length
