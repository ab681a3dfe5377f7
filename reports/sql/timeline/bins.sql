-- An overview of whole runs, named run_id/from_ns/to_ns by the trace's clock: for each lane and each of $bins bins the time that
-- events cover, and the name with most of it. A name is the family of an activity, the cause of a gap, the outermost operator
-- on a thread, or the phase of a step. Events that overlap in a lane are counted each.
WITH windows AS (
  SELECT
    SPLIT_PART(name, '/', 1) AS run_id, CAST(SPLIT_PART(name, '/', 2) AS BIGINT) AS from_ns,
    (CAST(SPLIT_PART(name, '/', 3) AS BIGINT) - CAST(SPLIT_PART(name, '/', 2) AS BIGINT)) // $bins + 1 AS bin_ns
  FROM (SELECT UNNEST($windows) AS name)
),
spans AS (
  SELECT
    'stream' AS lane, k.run_id, k.rank, k.device_index, k.stream, NULL AS thread, c.family AS name, k.start_ns, k.duration_ns
  FROM kernels k
  JOIN kernel_classes c ON c.run_id = k.run_id AND c.class_id = k.class_id
  JOIN runs r ON r.run_id = k.run_id
  WHERE r.device_kind <> 'cpu' OR k.operator_id IS NULL
  UNION ALL
  SELECT 'gap', g.run_id, g.rank, g.device_index, NULL, NULL, g.cause, g.start_ns, g.duration_ns
  FROM gaps g
  JOIN runs r ON r.run_id = g.run_id
  WHERE r.device_kind <> 'cpu'
  UNION ALL
  SELECT 'thread', run_id, rank, NULL, NULL, thread, operator, start_ns, duration_ns
  FROM operators
  WHERE parent_id IS NULL
  UNION ALL
  SELECT 'step', run_id, rank, NULL, NULL, NULL, COALESCE(phase, kind, 'step'), start_ns, end_ns - start_ns
  FROM steps
  WHERE start_ns IS NOT NULL
),
placed AS (
  SELECT
    s.*, w.from_ns, w.bin_ns, (s.start_ns - w.from_ns) // w.bin_ns AS first,
    (s.start_ns + GREATEST(s.duration_ns - 1, 0) - w.from_ns) // w.bin_ns AS last
  FROM spans s
  JOIN windows w ON w.run_id = s.run_id
),
cut AS (
  SELECT *, first AS bin, start_ns AS cut_from_ns, start_ns + duration_ns AS cut_to_ns
  FROM placed
  WHERE first = last
  UNION ALL
  SELECT
    *, GREATEST(start_ns, from_ns + bin * bin_ns) AS cut_from_ns,
    LEAST(start_ns + duration_ns, from_ns + (bin + 1) * bin_ns) AS cut_to_ns
  FROM (SELECT *, UNNEST(RANGE(first, last + 1)) AS bin FROM placed WHERE first < last)
),
named AS (
  SELECT
    lane, run_id, rank, device_index, stream, thread, bin, bin_ns, from_ns, name, CAST(SUM(cut_to_ns - cut_from_ns) AS BIGINT) AS own_ns
  FROM cut
  GROUP BY lane, run_id, rank, device_index, stream, thread, bin, bin_ns, from_ns, name
)
SELECT
  lane, run_id, rank, device_index, stream, thread, from_ns + bin * bin_ns AS start_ns, bin_ns AS duration_ns,
  ARG_MAX(name, (own_ns, name)) AS name, CAST(SUM(own_ns) AS BIGINT) AS covered_ns
FROM named
GROUP BY lane, run_id, rank, device_index, stream, thread, bin, bin_ns, from_ns
ORDER BY lane, run_id, rank, device_index, stream, thread, start_ns
