$selection,
points AS (
  SELECT
    $keys,
    $merged
    SUM(launches) AS launches,
    COUNT(DISTINCT module) AS modules,
    SUM(duration_ns) AS duration_ns,
    MIN(shortest_ns) AS shortest_ns,
    MAX(longest_ns) AS longest_ns,
    SUM(flops) AS flops,
    SUM(bytes) AS dram_bytes,
    SUM(l2_bytes) AS l2_bytes,
    SUM(l1_bytes) AS l1_bytes,
    SUM(compulsory_bytes) AS compulsory_bytes,
    SUM(cache_model_bytes) AS cache_model_bytes,
    SUM(counter_bytes) AS counter_bytes,
    SUM(roof_ns) AS roof_ns,
    SUM(CASE WHEN roof_ns IS NOT NULL THEN duration_ns END) AS roofed_ns,
    SUM(lost_ns) AS lost_ns,
    ARG_MAX(nearest_roof, duration_ns) AS nearest_roof,
    ARG_MAX(bound, duration_ns) AS bound,
    ARG_MAX(diagnosis, duration_ns) AS diagnosis
  FROM selection
  GROUP BY $keys
),
ranked AS (
  SELECT
    *,
    SUM(duration_ns) OVER () AS total_ns,
    SUM(duration_ns) OVER (ORDER BY duration_ns DESC RANGE UNBOUNDED PRECEDING)
      - SUM(duration_ns) OVER (PARTITION BY duration_ns) AS longer_ns
  FROM points
)
SELECT
  * EXCLUDE (total_ns, longer_ns),
  duration_ns / total_ns AS share,
  flops / NULLIF($level, 0) AS intensity,
  flops / NULLIF(duration_ns, 0) * 1e9 AS flops_per_s,
  $level / NULLIF(duration_ns, 0) * 1e9 AS bytes_per_s,
  roof_ns / NULLIF(roofed_ns, 0) AS roof_fraction
FROM ranked
WHERE $shown
ORDER BY duration_ns DESC
