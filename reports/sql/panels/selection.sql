WITH launch_groups AS (
$launch_groups
),
priced AS (
  SELECT
    *,
    $flops AS flops,
    $bytes AS bytes,
    CASE
      WHEN best_roof_ns IS NOT NULL AND ($flops IS NOT NULL OR $bytes IS NOT NULL OR l2_bytes IS NOT NULL OR basis = 'communication')
      THEN $roof
    END AS roof_ns
  FROM launch_groups
  WHERE $where
),
selection AS (
  SELECT
    *,
    CASE WHEN basis = 'roof' THEN GREATEST(duration_ns - roof_ns, 0) END AS lost_ns,
    $nearest AS roof
  FROM priced
)
