-- Tokens that a forward must commit for blocks of 32 to match AR in a long generation, in CUDA graphs, dual cache.
-- d is an AR step, r a reuse step, f a refresh. A block of s steps takes f + (s - 1) r, AR takes 32 d, hence
-- s* = 1 + (32 d - f) / r and 32 / s* tokens a forward. Below one step no number of tokens suffices: none.
-- least and most put each of d, f and r at the end of its repeats that favours blocks, then at the other end.
WITH steps AS (
  SELECT c.experiment, s.value AS sweep, c.prompt_tokens, c.batch,
    CASE WHEN c.experiment <> 'gqa' THEN 'AR 8, blocks 32' WHEN c.options LIKE '%kv8' THEN 'both 8' ELSE 'both 32' END AS kv_heads,
    MEDIAN(c.step_ns) FILTER (c.kind = 'decode') AS d, MIN(c.low_ns) FILTER (c.kind = 'decode') AS d_low, MAX(c.high_ns) FILTER (c.kind = 'decode') AS d_high,
    MEDIAN(c.step_ns) FILTER (c.kind = 'reuse') AS r, MIN(c.low_ns) FILTER (c.kind = 'reuse') AS r_low, MAX(c.high_ns) FILTER (c.kind = 'reuse') AS r_high,
    MEDIAN(c.step_ns) FILTER (c.kind = 'refresh') AS f, MIN(c.low_ns) FILTER (c.kind = 'refresh') AS f_low, MAX(c.high_ns) FILTER (c.kind = 'refresh') AS f_high
  FROM step_costs c
  JOIN ceilings s ON s.run_id = c.run_id AND s.source = 'measured' AND s.unit = 'tensor' AND s.precision = 'bf16'
  WHERE c.experiment IN ('e6-throughput', 'e7-steps', 'gqa') AND c.mode IN ('ar', 'dlm_block_dual') AND c.execution = 'cuda_graph'
  GROUP BY ALL
),
equal AS (
  SELECT *, 1 + (32 * d - f) / r AS s, 1 + (32 * d_high - f_low) / r_low AS s_most, 1 + (32 * d_low - f_high) / r_high AS s_least
  FROM steps
  WHERE d IS NOT NULL AND r IS NOT NULL
)
SELECT kv_heads, prompt_tokens AS prompt, batch, ROUND(d / 1e6, 2) AS ar_ms, ROUND(r / 1e6, 2) AS reuse_ms, ROUND(f / 1e6, 1) AS refresh_ms,
  ROUND((f + 31 * r) / (32 * d), 2) AS over_ar_1_token, ROUND(f / (32 * d), 2) AS over_ar_32_tokens,
  CASE WHEN s < 1 THEN 'none' ELSE PRINTF('%.2f', 32 / s) END AS tokens_a_forward,
  CASE WHEN s_most < 1 THEN 'none' ELSE PRINTF('%.2f', 32 / s_most) END AS least,
  CASE WHEN s_least < 1 THEN 'none' ELSE PRINTF('%.2f', 32 / s_least) END AS most
FROM equal
ORDER BY LENGTH(kv_heads) DESC, kv_heads DESC, prompt_tokens, batch
