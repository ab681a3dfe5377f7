-- The facts. Times are nanoseconds on the trace's clock, units are in the names, rank and device_index are in the keys.
-- comments.toml describes every column; the table descriptions has its texts.

CREATE TABLE schema_version (version INTEGER NOT NULL, created_at TIMESTAMP NOT NULL);

CREATE TABLE descriptions (table_name VARCHAR NOT NULL, column_name VARCHAR, description VARCHAR NOT NULL);

CREATE TABLE runs (
  run_id VARCHAR PRIMARY KEY,
  name VARCHAR NOT NULL,
  content_sha256 VARCHAR NOT NULL,
  source VARCHAR NOT NULL,
  experiment VARCHAR,
  mode VARCHAR, execution VARCHAR, model VARCHAR, dtype VARCHAR,
  batch BIGINT, prompt_tokens BIGINT, generated_tokens BIGINT, block BIGINT, steps BIGINT,
  parameters BIGINT,
  device VARCHAR,
  device_kind VARCHAR NOT NULL,
  rank BIGINT NOT NULL,
  job_id VARCHAR, world_size BIGINT, hosts BIGINT,
  base_time_ns BIGINT,
  torch_version VARCHAR, transformers_version VARCHAR, cuda_version VARCHAR, driver_version VARCHAR,
  outcome VARCHAR NOT NULL,
  message VARCHAR,
  twin_kernels BIGINT, twin_ns BIGINT,
  twin_matched_kernels BIGINT, twin_matched_ns BIGINT,
  counters_message VARCHAR,
  cache_model_operands VARCHAR,
  cache_model_message VARCHAR,
  predictions_message VARCHAR,
  committed_tokens BIGINT,
  profiler_graph_node_ns DOUBLE,
  peak_memory_bytes BIGINT, weights_bytes BIGINT, cache_bytes BIGINT, other_bytes BIGINT,
  trace_bytes BIGINT, events BIGINT, malformed_events BIGINT,
  device_time_ns BIGINT NOT NULL,
  rules_version INTEGER NOT NULL
);

CREATE TABLE devices (
  run_id VARCHAR NOT NULL, rank BIGINT NOT NULL, device_index BIGINT NOT NULL,
  name VARCHAR NOT NULL, datasheet VARCHAR,
  multiprocessors BIGINT, memory_bytes BIGINT, l2_bytes BIGINT, compute_capability VARCHAR,
  multiprocessor_threads BIGINT, multiprocessor_registers BIGINT, multiprocessor_shared_bytes BIGINT
);

CREATE TABLE ceilings (
  run_id VARCHAR,
  device VARCHAR NOT NULL,
  resource VARCHAR NOT NULL,
  level VARCHAR,
  unit VARCHAR,
  precision VARCHAR,
  value DOUBLE NOT NULL, unit_of_value VARCHAR NOT NULL,
  source VARCHAR NOT NULL,
  method VARCHAR, measured_on VARCHAR
);

CREATE TABLE signatures (
  signature_id VARCHAR PRIMARY KEY,
  operator VARCHAR NOT NULL, family VARCHAR NOT NULL,
  shapes VARCHAR, dtypes VARCHAR, strides VARCHAR, concrete VARCHAR,
  flops DOUBLE,
  read_bytes DOUBLE, write_bytes DOUBLE,
  precision VARCHAR,
  composite BOOLEAN NOT NULL,
  method VARCHAR NOT NULL,
  confidence VARCHAR NOT NULL,
  rules_version INTEGER NOT NULL,
  collective VARCHAR, message_bytes DOUBLE, ranks BIGINT, link_bytes DOUBLE,
  outside_rules VARCHAR
);

CREATE TABLE operators (
  run_id VARCHAR NOT NULL, operator_id BIGINT NOT NULL, rank BIGINT NOT NULL, thread VARCHAR NOT NULL,
  parent_id BIGINT, operator VARCHAR NOT NULL, signature_id VARCHAR,
  start_ns BIGINT NOT NULL, duration_ns BIGINT NOT NULL
);

CREATE TABLE steps (
  run_id VARCHAR NOT NULL, rank BIGINT NOT NULL, step_id BIGINT NOT NULL,
  phase VARCHAR, kind VARCHAR, step BIGINT, iteration BIGINT, block BIGINT, query BIGINT, context BIGINT, tokens BIGINT,
  requests BIGINT,
  host_start_ns BIGINT NOT NULL, host_duration_ns BIGINT NOT NULL,
  start_ns BIGINT, end_ns BIGINT,
  busy_ns BIGINT, idle_ns BIGINT,
  replayed_kernels BIGINT
);

CREATE TABLE kernels (
  run_id VARCHAR NOT NULL, kernel_id BIGINT NOT NULL, rank BIGINT NOT NULL, device_index BIGINT NOT NULL,
  class_id BIGINT NOT NULL,
  stream BIGINT,
  start_ns BIGINT NOT NULL, duration_ns BIGINT NOT NULL,
  launch_ns BIGINT, launch_duration_ns BIGINT,
  correlation BIGINT,
  operator_id BIGINT, share DOUBLE,
  launch_bytes BIGINT,
  trace_bytes BIGINT,
  cache_read_bytes DOUBLE, cache_write_bytes DOUBLE,
  step_id BIGINT,
  stack_id BIGINT
);

CREATE TABLE kernel_classes (
  run_id VARCHAR NOT NULL, class_id BIGINT NOT NULL,
  kernel VARCHAR NOT NULL,
  category VARCHAR NOT NULL,
  family VARCHAR NOT NULL,
  signature_id VARCHAR,
  attribution VARCHAR NOT NULL,
  unit VARCHAR, precision VARCHAR,
  module VARCHAR,
  phase VARCHAR,
  replayed BOOLEAN,
  grid_x BIGINT, grid_y BIGINT, grid_z BIGINT, block_x BIGINT, block_y BIGINT, block_z BIGINT,
  registers BIGINT, shared_bytes BIGINT, occupancy DOUBLE
);

CREATE TABLE modules (
  run_id VARCHAR NOT NULL, module_id BIGINT NOT NULL, parent_id BIGINT,
  module VARCHAR NOT NULL,
  module_class VARCHAR,
  source VARCHAR NOT NULL
);

CREATE TABLE stacks (
  run_id VARCHAR NOT NULL, stack_id BIGINT NOT NULL,
  stack VARCHAR NOT NULL,
  source_line VARCHAR,
  function VARCHAR
);

CREATE TABLE sequences (
  sequence_id VARCHAR PRIMARY KEY,
  read_bytes DOUBLE[] NOT NULL, write_bytes DOUBLE[] NOT NULL
);

CREATE TABLE counters (
  run_id VARCHAR NOT NULL, kernel_id BIGINT NOT NULL,
  metric VARCHAR NOT NULL,
  value DOUBLE NOT NULL,
  source VARCHAR NOT NULL
);

CREATE TABLE memory (
  run_id VARCHAR NOT NULL, memory_id BIGINT NOT NULL, rank BIGINT NOT NULL, device_kind VARCHAR NOT NULL,
  device_index BIGINT NOT NULL,
  step_id BIGINT,
  start_ns BIGINT NOT NULL, end_ns BIGINT NOT NULL,
  changes BIGINT NOT NULL,
  before_bytes BIGINT NOT NULL, after_bytes BIGINT NOT NULL, peak_bytes BIGINT NOT NULL,
  reserved_bytes BIGINT,
  allocated_bytes BIGINT NOT NULL,
  largest_bytes BIGINT, largest_operator VARCHAR
);

CREATE TABLE timings (
  run_id VARCHAR NOT NULL, metric VARCHAR NOT NULL, phase VARCHAR, kind VARCHAR, step BIGINT, "repeat" BIGINT, value_ns BIGINT NOT NULL
);

CREATE TABLE telemetry (
  run_id VARCHAR NOT NULL, time_ns BIGINT NOT NULL, power_w DOUBLE, energy_j DOUBLE, sm_clock_hz DOUBLE, memory_clock_hz DOUBLE,
  temperature_c DOUBLE, memory_used_bytes BIGINT, throttle_reasons VARCHAR
);

-- Every run has the accounts attribution and price. A run whose trace breaks off has a third, recording, with one entry:
-- partial.
CREATE TABLE ledger (
  run_id VARCHAR NOT NULL, account VARCHAR NOT NULL, entry VARCHAR NOT NULL, kernels BIGINT NOT NULL, duration_ns BIGINT NOT NULL
);

CREATE TABLE predictions (
  run_id VARCHAR NOT NULL, model VARCHAR NOT NULL, mode VARCHAR NOT NULL,
  convention VARCHAR NOT NULL,
  kind VARCHAR NOT NULL, query BIGINT NOT NULL, context DOUBLE NOT NULL,
  forwards BIGINT,
  component VARCHAR NOT NULL,
  flops DOUBLE NOT NULL, bytes DOUBLE NOT NULL,
  time_ns BIGINT,
  roofs VARCHAR
);

CREATE TABLE gaps (
  run_id VARCHAR NOT NULL, rank BIGINT NOT NULL, device_index BIGINT NOT NULL, gap_id BIGINT NOT NULL,
  start_ns BIGINT NOT NULL, duration_ns BIGINT NOT NULL,
  step_id BIGINT,
  before_kernel_id BIGINT NOT NULL, after_kernel_id BIGINT NOT NULL,
  cause VARCHAR NOT NULL,
  sync_ns BIGINT, host_ns BIGINT, call_ns BIGINT, queue_ns BIGINT
);

CREATE TABLE hta_temporal (
  run_id VARCHAR NOT NULL, rank BIGINT NOT NULL,
  idle_ns DOUBLE, compute_ns DOUBLE, non_compute_ns DOUBLE, kernel_ns DOUBLE
);

CREATE TABLE hta_idle (
  run_id VARCHAR NOT NULL, rank BIGINT NOT NULL, stream BIGINT NOT NULL,
  category VARCHAR NOT NULL,
  idle_ns DOUBLE, share DOUBLE
);

CREATE TABLE hta_launch (
  run_id VARCHAR NOT NULL, rank BIGINT NOT NULL,
  correlation BIGINT NOT NULL,
  call_ns DOUBLE, kernel_ns DOUBLE, delay_ns DOUBLE
);

CREATE TABLE hta_critical_path (
  run_id VARCHAR NOT NULL, rank BIGINT NOT NULL,
  edge_type VARCHAR NOT NULL, bound_by VARCHAR,
  event VARCHAR,
  edges BIGINT NOT NULL, duration_ns DOUBLE NOT NULL
);

CREATE TABLE warnings (
  run_id VARCHAR NOT NULL, source VARCHAR NOT NULL, message VARCHAR NOT NULL
);

CREATE TABLE digests (
  run_id VARCHAR, table_name VARCHAR NOT NULL, row_count BIGINT NOT NULL,
  digest VARCHAR,
  probe VARCHAR NOT NULL
);
