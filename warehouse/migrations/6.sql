-- To schema 6: iterations and idle time of steps, phases of training, modules, stacks.
ALTER TABLE steps ADD COLUMN iteration BIGINT;
ALTER TABLE steps ADD COLUMN requests BIGINT;
ALTER TABLE steps ADD COLUMN idle_ns BIGINT;
ALTER TABLE kernels ADD COLUMN stack_id BIGINT;
ALTER TABLE kernel_classes ADD COLUMN phase VARCHAR;
ALTER TABLE kernel_classes ADD COLUMN replayed BOOLEAN;
CREATE TABLE modules (
  run_id VARCHAR NOT NULL, module_id BIGINT NOT NULL, parent_id BIGINT, module VARCHAR NOT NULL, module_class VARCHAR,
  source VARCHAR NOT NULL
);
CREATE TABLE stacks (
  run_id VARCHAR NOT NULL, stack_id BIGINT NOT NULL, stack VARCHAR NOT NULL, source_line VARCHAR, function VARCHAR
);
-- the time in which a step's only device ran nothing; of a step on several devices it stays unknown
UPDATE steps SET idle_ns = (
  SELECT COALESCE(SUM(g.duration_ns), 0)
  FROM gaps g
  WHERE g.run_id = steps.run_id AND g.rank = steps.rank AND g.start_ns >= steps.start_ns AND g.start_ns < steps.end_ns
)
WHERE start_ns IS NOT NULL AND (run_id, rank) NOT IN (
  SELECT (run_id, rank) FROM devices GROUP BY run_id, rank HAVING COUNT(*) > 1
);
-- kept rows with new columns are computed anew
DROP TABLE IF EXISTS kept_kernel_groups;
