-- What does a token cost?
-- Device time, FLOPs and DRAM bytes of each kind of step per committed token, and energy where telemetry lasted a
-- second. Steps that commit no token are left out.
SELECT
  r.name, s.kind,
  SUM(s.busy_ns) / SUM(s.tokens) / 1e3 AS device_us_per_token,
  SUM(s.flops) / SUM(s.tokens) / 1e9 AS gflop_per_token,
  SUM(s.dram_bytes) / SUM(s.tokens) / 1e6 AS mb_per_token,
  MAX(m.joules_per_token) AS joules_per_token
FROM step_summary s
JOIN runs r ON r.run_id = s.run_id
LEFT JOIN mode_summary m ON m.run_id = s.run_id
GROUP BY r.name, s.kind
HAVING SUM(s.tokens) > 0
ORDER BY r.name, s.kind;
