-- The same at batch 1 by the positions attended to, for the dual cache and for block-causal decoding, which commits each block
-- once (c) in place of a refresh: s* = (32 d - c) / r. E9 has no commit: a reuse step forwards as many positions and stands
-- in for it. one_sweep says whether AR and blocks were captured in the same sweep.
WITH steps AS (
  SELECT c.experiment, s.value AS sweep, c.execution, c.mode, c.length,
    MAX(c.step_ns) FILTER (c.kind IN ('decode', 'reuse')) AS step, MIN(c.low_ns) FILTER (c.kind IN ('decode', 'reuse')) AS step_low,
    MAX(c.high_ns) FILTER (c.kind IN ('decode', 'reuse')) AS step_high,
    o.step_ns AS once, o.low_ns AS once_low, o.high_ns AS once_high
  FROM step_costs c
  JOIN ceilings s ON s.run_id = c.run_id AND s.source = 'measured' AND s.unit = 'tensor' AND s.precision = 'bf16'
  LEFT JOIN step_costs o ON o.run_id = c.run_id AND o.kind IN ('refresh', 'commit')
  WHERE c.kind IN ('decode', 'reuse') AND c.mode IN ('ar', 'dlm_block_dual', 'dlm_block_causal') AND c.execution <> 'eager'
    AND (c.experiment = 'e9-lengths' OR (c.experiment = 'modes-8b' AND c.generated_tokens = 128))
  GROUP BY ALL
),
pairs AS (
  SELECT b.experiment, b.execution, b.mode, b.length, a.sweep = b.sweep AS one_sweep, a.step AS d, a.step_low AS d_low, a.step_high AS d_high,
    b.step AS r, b.step_low AS r_low, b.step_high AS r_high,
    COALESCE(b.once, b.step) AS f, COALESCE(b.once_low, b.step_low) AS f_low, COALESCE(b.once_high, b.step_high) AS f_high,
    CASE WHEN b.mode = 'dlm_block_dual' THEN 1 ELSE 0 END AS free
  FROM steps b
  JOIN steps a ON a.mode = 'ar' AND a.experiment = b.experiment AND a.execution = b.execution AND ABS(a.length - b.length) < 70
  WHERE b.mode <> 'ar'
),
equal AS (
  SELECT *, free + (32 * d - f) / r AS s, free + (32 * d_high - f_low) / r_low AS s_most, free + (32 * d_low - f_high) / r_high AS s_least
  FROM pairs
)
SELECT mode, execution, CAST(ROUND(length) AS INTEGER) AS length, ROUND(d / 1e6, 2) AS ar_ms, ROUND(r / 1e6, 2) AS reuse_ms,
  ROUND(f / 1e6, 1) AS refresh_or_commit_ms, ROUND((f + (32 - free) * r) / (32 * d), 2) AS over_ar_1_token,
  CASE WHEN s < 1 THEN 'none' ELSE PRINTF('%.2f', 32 / s) END AS tokens_a_forward,
  CASE WHEN s_most < 1 THEN 'none' ELSE PRINTF('%.2f', 32 / s_most) END AS least,
  CASE WHEN s_least < 1 THEN 'none' ELSE PRINTF('%.2f', 32 / s_least) END AS most,
  CASE WHEN one_sweep THEN 'yes' ELSE 'no' END AS one_sweep
FROM equal
ORDER BY mode DESC, execution DESC, length
