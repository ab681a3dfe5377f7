$selection,
weighed AS (
  SELECT
    *,
    SUM(roof_ns) OVER (PARTITION BY $keys, roof) AS of_roof_ns,
    CASE WHEN diagnosis IS NOT NULL THEN SUM(launches) OVER (PARTITION BY $keys, diagnosis) END AS of_diagnosis
  FROM selection
),
points AS (
  SELECT
    $keys,
    $merged
    CAST(SUM(launches) AS BIGINT) AS launches,
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
    SUM(CASE WHEN bound = 'latency' THEN duration_ns END) AS latency_ns,
    FIRST(roof ORDER BY of_roof_ns DESC NULLS LAST, roof) AS nearest_roof,
    FIRST(diagnosis ORDER BY of_diagnosis DESC NULLS LAST, diagnosis) AS diagnosis,
    CAST(MAX(of_diagnosis) AS BIGINT) AS diagnosed
  FROM weighed
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
  * EXCLUDE (total_ns, longer_ns, latency_ns, diagnosis, diagnosed),
  duration_ns / total_ns AS share,
  flops / NULLIF($level, 0) AS intensity,
  flops / NULLIF(duration_ns, 0) * 1e9 AS flops_per_s,
  $level / NULLIF(duration_ns, 0) * 1e9 AS bytes_per_s,
  roof_ns / NULLIF(roofed_ns, 0) AS roof_fraction,
  -- what the point reached at least half of in all of its time
  CASE
    WHEN duration_ns = 0 THEN 'none'
    WHEN roof_ns >= 0.5 * duration_ns THEN nearest_roof
    WHEN latency_ns >= 0.5 * duration_ns THEN 'latency'
    ELSE 'none'
  END AS bound,
  -- the most frequent diagnosis, and of how many launches it is if not of all
  CASE WHEN diagnosed < launches THEN FORMAT('{:,} of {:,} launches: {}', diagnosed, launches, diagnosis) ELSE diagnosis END
    AS diagnosis
FROM ranked
WHERE $shown
ORDER BY duration_ns DESC
