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
