-- To schema 8: jobs of several ranks, the epoch of a trace's clock, memory over time.
ALTER TABLE runs ADD COLUMN job_id VARCHAR;
ALTER TABLE runs ADD COLUMN world_size BIGINT;
ALTER TABLE runs ADD COLUMN hosts BIGINT;
ALTER TABLE runs ADD COLUMN base_time_ns BIGINT;
CREATE TABLE memory (
  run_id VARCHAR NOT NULL, memory_id BIGINT NOT NULL, rank BIGINT NOT NULL, device_kind VARCHAR NOT NULL,
  device_index BIGINT NOT NULL, step_id BIGINT, start_ns BIGINT NOT NULL, end_ns BIGINT NOT NULL, changes BIGINT NOT NULL,
  before_bytes BIGINT NOT NULL, after_bytes BIGINT NOT NULL, peak_bytes BIGINT NOT NULL, reserved_bytes BIGINT,
  allocated_bytes BIGINT NOT NULL, largest_bytes BIGINT, largest_operator VARCHAR
);
