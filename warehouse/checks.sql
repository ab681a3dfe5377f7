-- What must hold of every warehouse. Each statement returns violations: the run (NULL for none in particular) and what is
-- wrong.

-- Both accounts of the ledger, and the kernels themselves, sum to the run's device time and count its kernels.
WITH sums AS (
  SELECT run_id, 'account ' || account AS of_what, SUM(kernels) AS kernels, SUM(duration_ns) AS duration_ns
  FROM ledger
  GROUP BY run_id, account
),
kernels_of AS (
  SELECT run_id, COUNT(*) AS kernels, SUM(duration_ns) AS duration_ns
  FROM kernels
  GROUP BY run_id
),
expected AS (
  SELECT r.run_id, r.device_time_ns, COALESCE(k.kernels, 0) AS kernels, COALESCE(k.duration_ns, 0) AS duration_ns
  FROM runs r
  LEFT JOIN kernels_of k ON k.run_id = r.run_id
)
SELECT run_id, 'kernels take ' || duration_ns || ' ns, the run says ' || device_time_ns || ' ns' AS finding
FROM expected
WHERE duration_ns <> device_time_ns
UNION ALL
SELECT
  e.run_id,
  'ledger: ' || a.of_what || ' sums to ' || COALESCE(s.kernels, 0) || ' kernels and ' || COALESCE(s.duration_ns, 0)
    || ' ns, the run has ' || e.kernels || ' and ' || e.device_time_ns || ' ns'
FROM expected e
CROSS JOIN (SELECT 'account attribution' AS of_what UNION ALL SELECT 'account price') a
LEFT JOIN sums s ON s.run_id = e.run_id AND s.of_what = a.of_what
WHERE COALESCE(s.kernels, 0) <> e.kernels OR COALESCE(s.duration_ns, 0) <> e.device_time_ns;

-- Each entry of the ledger equals the sum of its kernels, by attribution and by source of bytes.
WITH counted AS (
  SELECT run_id, 'attribution' AS account, attribution AS entry, COUNT(*) AS kernels, SUM(duration_ns) AS duration_ns
  FROM placed_kernels
  GROUP BY run_id, attribution
  UNION ALL
  SELECT run_id, 'price', dram_bytes_source, COUNT(*), SUM(duration_ns)
  FROM placed_kernels
  GROUP BY run_id, dram_bytes_source
),
-- a partial run has a third account, with all of its time in one entry
entries AS (
  SELECT * FROM ledger WHERE account <> 'recording'
)
SELECT
  COALESCE(l.run_id, c.run_id),
  'ledger: ' || COALESCE(l.account, c.account) || ' ' || COALESCE(l.entry, c.entry) || ' has ' || COALESCE(l.duration_ns, 0)
    || ' ns, its kernels take ' || COALESCE(c.duration_ns, 0) || ' ns' AS finding
FROM entries l
FULL JOIN counted c ON c.run_id = l.run_id AND c.account = l.account AND c.entry = l.entry
WHERE COALESCE(l.kernels, 0) <> COALESCE(c.kernels, 0) OR COALESCE(l.duration_ns, 0) <> COALESCE(c.duration_ns, 0);

-- Ids are unique within their run.
WITH ids AS (
  SELECT run_id, 'kernels' AS in_table, CAST(kernel_id AS VARCHAR) AS id FROM kernels
  UNION ALL
  SELECT run_id, 'kernel_classes', CAST(class_id AS VARCHAR) FROM kernel_classes
  UNION ALL
  SELECT run_id, 'operators', CAST(operator_id AS VARCHAR) FROM operators
  UNION ALL
  SELECT run_id, 'steps', CAST(step_id AS VARCHAR) FROM steps
  UNION ALL
  SELECT run_id, 'devices', CAST(rank AS VARCHAR) || '/' || device_index FROM devices
  UNION ALL
  SELECT run_id, 'memory', CAST(memory_id AS VARCHAR) FROM memory
  UNION ALL
  SELECT run_id, 'gaps', rank || '/' || device_index || '/' || gap_id FROM gaps
  UNION ALL
  SELECT run_id, 'counters', kernel_id || ' ' || metric || ' ' || source FROM counters
  UNION ALL
  SELECT run_id, 'ledger', account || ' ' || entry FROM ledger
),
repeated AS (
  SELECT run_id, in_table, id
  FROM ids
  GROUP BY run_id, in_table, id
  HAVING COUNT(*) > 1
)
SELECT run_id, in_table || ': ' || COUNT(*) || ' duplicate ids, such as ' || MIN(id) AS finding
FROM repeated
GROUP BY run_id, in_table;

-- Every reference leads to a row.
WITH missing AS (
  SELECT k.run_id, 'kernels without their class' AS what FROM kernels k ANTI JOIN kernel_classes c USING (run_id, class_id)
  UNION ALL
  SELECT k.run_id, 'kernels without their step'
  FROM (FROM kernels WHERE step_id IS NOT NULL) k ANTI JOIN steps USING (run_id, step_id)
  UNION ALL
  SELECT k.run_id, 'kernels without their operator'
  FROM (FROM kernels WHERE operator_id IS NOT NULL) k ANTI JOIN operators USING (run_id, operator_id)
  UNION ALL
  SELECT c.run_id, 'classes of kernels without their signature'
  FROM (FROM kernel_classes WHERE signature_id IS NOT NULL) c ANTI JOIN signatures USING (signature_id)
  UNION ALL
  SELECT o.run_id, 'operators without their parent'
  FROM (FROM operators WHERE parent_id IS NOT NULL) o
  ANTI JOIN operators p ON p.run_id = o.run_id AND p.operator_id = o.parent_id
  UNION ALL
  SELECT o.run_id, 'operators without their signature'
  FROM (FROM operators WHERE signature_id IS NOT NULL) o ANTI JOIN signatures USING (signature_id)
  UNION ALL
  SELECT m.run_id, 'memory without its step'
  FROM (FROM memory WHERE step_id IS NOT NULL) m ANTI JOIN steps USING (run_id, step_id)
  UNION ALL
  SELECT m.run_id, 'counters without their kernel' FROM counters m ANTI JOIN kernels USING (run_id, kernel_id)
  UNION ALL
  SELECT g.run_id, 'gaps without the kernel before' FROM gaps g
  ANTI JOIN kernels k ON k.run_id = g.run_id AND k.kernel_id = g.before_kernel_id
  UNION ALL
  SELECT g.run_id, 'gaps without the kernel after' FROM gaps g
  ANTI JOIN kernels k ON k.run_id = g.run_id AND k.kernel_id = g.after_kernel_id
  UNION ALL
  SELECT g.run_id, 'gaps without their step'
  FROM (FROM gaps WHERE step_id IS NOT NULL) g ANTI JOIN steps USING (run_id, step_id)
)
SELECT run_id, COUNT(*) || ' ' || what AS finding
FROM missing
GROUP BY run_id, what;

-- Every row belongs to a run of the table runs.
SELECT run_id, table_name || ': rows of a run that is missing' AS finding
FROM (
  SELECT DISTINCT run_id, 'kernels' AS table_name FROM kernels
  UNION ALL
  SELECT DISTINCT run_id, 'kernel_classes' FROM kernel_classes
  UNION ALL
  SELECT DISTINCT run_id, 'operators' FROM operators
  UNION ALL
  SELECT DISTINCT run_id, 'steps' FROM steps
  UNION ALL
  SELECT DISTINCT run_id, 'devices' FROM devices
  UNION ALL
  SELECT DISTINCT run_id, 'ceilings' FROM ceilings WHERE run_id IS NOT NULL
  UNION ALL
  SELECT DISTINCT run_id, 'gaps' FROM gaps
  UNION ALL
  SELECT DISTINCT run_id, 'counters' FROM counters
  UNION ALL
  SELECT DISTINCT run_id, 'memory' FROM memory
  UNION ALL
  SELECT DISTINCT run_id, 'timings' FROM timings
  UNION ALL
  SELECT DISTINCT run_id, 'telemetry' FROM telemetry
  UNION ALL
  SELECT DISTINCT run_id, 'ledger' FROM ledger
  UNION ALL
  SELECT DISTINCT run_id, 'predictions' FROM predictions
  UNION ALL
  SELECT DISTINCT run_id, 'digests' FROM digests WHERE run_id IS NOT NULL
)
ANTI JOIN runs USING (run_id);

-- Prices are not negative, and shares of a price lie between 0 and 1.
SELECT CAST(NULL AS VARCHAR) AS run_id, 'signatures: ' || COUNT(*) || ' with negative FLOPs or bytes' AS finding
FROM signatures
WHERE flops < 0 OR read_bytes < 0 OR write_bytes < 0
HAVING COUNT(*) > 0
UNION ALL
SELECT run_id, COUNT(*) || ' kernels with a share outside 0 to 1, or negative time or bytes'
FROM kernels
WHERE share < 0 OR share > 1.000000001 OR duration_ns < 0 OR trace_bytes < 0 OR launch_bytes < 0 OR cache_read_bytes < 0 OR cache_write_bytes < 0
GROUP BY run_id;

-- A device's wall time is busy plus idle, and the parts of a gap sum to its duration.
SELECT run_id, 'device ' || device_index || ': busy and idle sum to ' || busy_ns + idle_ns || ' of ' || wall_ns || ' ns' AS finding
FROM device_timeline
WHERE busy_ns + idle_ns <> wall_ns
UNION ALL
SELECT run_id, COUNT(*) || ' gaps whose parts do not sum to their duration'
FROM gaps
WHERE sync_ns + host_ns + call_ns + queue_ns <> duration_ns
GROUP BY run_id;

-- Rows are those that were stored. verify.py creates both tables; a digest by another version of DuckDB is not comparable.
SELECT
  COALESCE(s.run_id, c.run_id) AS run_id,
  COALESCE(s.table_name, c.table_name) || ': not what was stored (' || COALESCE(c.row_count, 0) || ' rows'
    || CASE WHEN c.row_count = s.row_count THEN '' ELSE ' of ' || COALESCE(s.row_count, 0) END || ')' AS finding
FROM stored_digests s
FULL JOIN current_digests c ON COALESCE(s.run_id, '') = COALESCE(c.run_id, '') AND s.table_name = c.table_name
WHERE COALESCE(s.comparable, true) AND (s.row_count IS DISTINCT FROM c.row_count OR s.digest IS DISTINCT FROM c.digest)
ORDER BY run_id, COALESCE(s.table_name, c.table_name);
