-- Spread in percent: within a run, (most - least) / median of its latencies; between sweeps, most / least - 1 of the medians of the same
-- step in several configurations. count is of runs, or of steps.
WITH steps AS (
  SELECT execution, MAX(step_ns) / MIN(step_ns) - 1 AS spread
  FROM step_costs
  WHERE (options = '' OR options LIKE 's%-%') AND options NOT LIKE '%kv%'
  GROUP BY model, mode, kind, execution, ROUND(length / 64), batch, block, dtype
  HAVING COUNT(DISTINCT experiment) > 1
),
spreads AS (
  SELECT 'within a run' AS spread_of, execution, (high_ns - low_ns) / latency_ns AS spread FROM generations WHERE latency_ns IS NOT NULL
  UNION ALL
  SELECT 'between sweeps', execution, spread FROM steps
)
SELECT spread_of, execution, COUNT(*) AS count, ROUND(100 * MEDIAN(spread), 1) AS median, ROUND(100 * QUANTILE_CONT(spread, 0.9), 1) AS percentile_90,
  ROUND(100 * MAX(spread), 1) AS worst
FROM spreads
GROUP BY spread_of, execution
ORDER BY spread_of DESC, worst
