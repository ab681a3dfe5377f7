-- Facts. Times are nanoseconds on the trace's clock, units are in the names, rank and device_index are in the keys.

CREATE TABLE schema_version (version INTEGER NOT NULL, created_at TIMESTAMP NOT NULL);

CREATE TABLE runs (
  run_id VARCHAR PRIMARY KEY,      -- first 16 hex digits of the SHA-256 of the decompressed trace
  name VARCHAR NOT NULL,           -- the run directory's name or the trace file's stem
  content_sha256 VARCHAR NOT NULL, -- of the trace and its companions: a run is replaced when it changes
  source VARCHAR NOT NULL,         -- ridgeline (a run directory) or kineto (a bare trace)
  experiment VARCHAR,
  mode VARCHAR, execution VARCHAR, model VARCHAR, dtype VARCHAR,
  batch BIGINT, prompt_tokens BIGINT, generated_tokens BIGINT, block BIGINT, steps BIGINT,
  parameters BIGINT,
  device VARCHAR,                  -- as the trace or the run names it
  device_kind VARCHAR NOT NULL,    -- cuda, hip or cpu
  rank BIGINT NOT NULL,
  torch_version VARCHAR, transformers_version VARCHAR, cuda_version VARCHAR, driver_version VARCHAR,
  outcome VARCHAR NOT NULL,        -- ok, oom or error
  message VARCHAR,
  twin_kernels BIGINT, twin_ns BIGINT,                 -- graph-replayed kernels, where an eager twin was given
  twin_matched_kernels BIGINT, twin_matched_ns BIGINT, -- those of them that the twin told of
  counters_message VARCHAR,        -- what of a counter file beside the trace was not used, and why
  cache_model_operands VARCHAR,    -- where the model of the L2 has tensors from: execution_trace or recorded_shapes (a guess)
  cache_model_message VARCHAR,     -- what it left out, and why
  predictions_message VARCHAR,     -- why a run directory has no predictions; null where it has
  committed_tokens BIGINT,
  profiler_graph_node_ns DOUBLE,   -- what the profiler adds to each node of a replayed graph, where it was calibrated
  peak_memory_bytes BIGINT, weights_bytes BIGINT, cache_bytes BIGINT, other_bytes BIGINT,
  trace_bytes BIGINT, events BIGINT, malformed_events BIGINT,
  device_time_ns BIGINT NOT NULL,  -- sum of the durations of its activities; both accounts of the ledger sum to it
  rules_version INTEGER NOT NULL
);

CREATE TABLE devices (
  run_id VARCHAR NOT NULL, rank BIGINT NOT NULL, device_index BIGINT NOT NULL,
  name VARCHAR NOT NULL, datasheet VARCHAR, -- the name in ceilings with source datasheet, if known
  multiprocessors BIGINT, memory_bytes BIGINT, l2_bytes BIGINT, compute_capability VARCHAR
);

CREATE TABLE ceilings (
  run_id VARCHAR,                  -- the run it was measured for; null for a datasheet's
  device VARCHAR NOT NULL,
  resource VARCHAR NOT NULL,       -- compute, bandwidth or latency
  level VARCHAR,                   -- dram, l2 or l1
  unit VARCHAR,                    -- tensor or vector
  precision VARCHAR,
  value DOUBLE NOT NULL, unit_of_value VARCHAR NOT NULL,
  source VARCHAR NOT NULL,         -- measured or datasheet
  method VARCHAR, measured_on VARCHAR
);

CREATE TABLE signatures (
  signature_id VARCHAR PRIMARY KEY, -- of the operator's name and its recorded inputs
  operator VARCHAR NOT NULL, family VARCHAR NOT NULL,
  shapes VARCHAR, dtypes VARCHAR, strides VARCHAR, concrete VARCHAR, -- as recorded, JSON
  flops DOUBLE,                     -- of one call; null if unknown
  read_bytes DOUBLE, write_bytes DOUBLE, -- compulsory; null if unknown
  precision VARCHAR,
  composite BOOLEAN NOT NULL,       -- only calls other operators
  method VARCHAR NOT NULL,          -- meta, tag, shapes, rule, inputs or none
  confidence VARCHAR NOT NULL,      -- high or low
  rules_version INTEGER NOT NULL
);

CREATE TABLE operators (
  run_id VARCHAR NOT NULL, operator_id BIGINT NOT NULL, rank BIGINT NOT NULL, thread VARCHAR NOT NULL,
  parent_id BIGINT, operator VARCHAR NOT NULL, signature_id VARCHAR,
  start_ns BIGINT NOT NULL, duration_ns BIGINT NOT NULL
);

CREATE TABLE steps (
  run_id VARCHAR NOT NULL, rank BIGINT NOT NULL, step_id BIGINT NOT NULL,
  phase VARCHAR, kind VARCHAR, step BIGINT, block BIGINT, query BIGINT, context BIGINT, tokens BIGINT,
  host_start_ns BIGINT NOT NULL, host_duration_ns BIGINT NOT NULL,
  start_ns BIGINT, end_ns BIGINT,  -- first and last device activity
  busy_ns BIGINT,                  -- union of its device activities
  replayed_kernels BIGINT          -- those of its device activities that a graph replayed
);

CREATE TABLE kernels (
  run_id VARCHAR NOT NULL, kernel_id BIGINT NOT NULL, rank BIGINT NOT NULL, device_index BIGINT NOT NULL,
  class_id BIGINT NOT NULL,        -- in kernel_classes
  stream BIGINT,
  start_ns BIGINT NOT NULL, duration_ns BIGINT NOT NULL,
  launch_ns BIGINT, launch_duration_ns BIGINT, -- the host's call; null where it was not recorded
  correlation BIGINT,              -- as the trace numbers launches; all kernels of a graph launch share it
  operator_id BIGINT, share DOUBLE, -- its part of the signature's cost
  trace_bytes BIGINT,              -- DRAM bytes of a copy or fill, from the bytes the trace records
  cache_read_bytes DOUBLE, cache_write_bytes DOUBLE, -- DRAM bytes by the model of the L2; null where it knows no operands
  step_id BIGINT
);

-- What kernels have in common, said once: a run has many thousands of kernels of a few hundred classes.
CREATE TABLE kernel_classes (
  run_id VARCHAR NOT NULL, class_id BIGINT NOT NULL,
  kernel VARCHAR NOT NULL,
  category VARCHAR NOT NULL,       -- kernel, memcpy, memset, profiler_range or operator
  family VARCHAR NOT NULL,
  signature_id VARCHAR,
  attribution VARCHAR NOT NULL,
  unit VARCHAR, precision VARCHAR,
  module VARCHAR
);

-- What the model of the L2 said of sequences of kernels whose tensors it guessed, so that it says it once.
CREATE TABLE sequences (
  sequence_id VARCHAR PRIMARY KEY, -- of the kernels' names and signatures, the device, and the versions of model and rules
  read_bytes DOUBLE[] NOT NULL, write_bytes DOUBLE[] NOT NULL -- of each kernel; NaN where it knows no operands
);

-- Hardware counters of a kernel, as one launch of it in a step of the same kind moved them.
CREATE TABLE counters (
  run_id VARCHAR NOT NULL, kernel_id BIGINT NOT NULL,
  metric VARCHAR NOT NULL,         -- the counter's own name; in bytes, nanoseconds or counts
  value DOUBLE NOT NULL,
  source VARCHAR NOT NULL          -- cupti (ours), ncu (Nsight Compute) or cuda_profiler_range (in the trace)
);

CREATE TABLE timings (
  run_id VARCHAR NOT NULL, metric VARCHAR NOT NULL, phase VARCHAR, kind VARCHAR, step BIGINT, "repeat" BIGINT, value_ns BIGINT NOT NULL
);

CREATE TABLE telemetry (
  run_id VARCHAR NOT NULL, time_ns BIGINT NOT NULL, power_w DOUBLE, energy_j DOUBLE, sm_clock_hz DOUBLE, memory_clock_hz DOUBLE,
  temperature_c DOUBLE, memory_used_bytes BIGINT, throttle_reasons VARCHAR
);

-- Accounts attribution and price, of every run; recording, with the one entry partial, of one whose trace breaks off.
CREATE TABLE ledger (
  run_id VARCHAR NOT NULL, account VARCHAR NOT NULL, entry VARCHAR NOT NULL, kernels BIGINT NOT NULL, duration_ns BIGINT NOT NULL
);

-- What the closed forms say of a captured run: every kind and length of its steps. The lengths that were profiled stand
-- alone; decoding steps between them are taken together, with the mean of theirs.
CREATE TABLE predictions (
  run_id VARCHAR NOT NULL, model VARCHAR NOT NULL, mode VARCHAR NOT NULL,
  convention VARCHAR NOT NULL,     -- as_authored (arXiv 2510.04146) or corrected
  kind VARCHAR NOT NULL, query BIGINT NOT NULL, context DOUBLE NOT NULL,
  forwards BIGINT,                 -- such steps in a generation, null where confidence decides; the other columns are of one
  component VARCHAR NOT NULL,      -- a part (head, attention, softmax, norm, ...) or a sum: linear, products, all
  flops DOUBLE NOT NULL, bytes DOUBLE NOT NULL,
  time_ns BIGINT,                  -- least time at the run's roofs; null without them
  roofs VARCHAR                    -- whose, measured or a datasheet's
);

-- Every interval between a device's first and last activity in which none ran on any of its streams: analyze/timeline.py
-- has the rules. Its parts sum to it: before the launch call of the activity after it began, the launching thread waited
-- for the device (sync_ns) or did something else (host_ns); the call ran (call_ns); it had returned (queue_ns).
CREATE TABLE gaps (
  run_id VARCHAR NOT NULL, rank BIGINT NOT NULL, device_index BIGINT NOT NULL, gap_id BIGINT NOT NULL,
  start_ns BIGINT NOT NULL, duration_ns BIGINT NOT NULL,
  step_id BIGINT,                  -- of the activities on both sides; null where they differ
  before_kernel_id BIGINT NOT NULL, after_kernel_id BIGINT NOT NULL, -- the one that ended last, the first to start
  cause VARCHAR NOT NULL,          -- host_late, synchronisation, launch_latency, dependency, replay or unknown
  sync_ns BIGINT, host_ns BIGINT, call_ns BIGINT, queue_ns BIGINT -- null where the launch was not recorded
);

-- What HolisticTraceAnalysis says of the trace, on request. It computes with microseconds as doubles, hta_idle rounded to
-- a hundredth of one: nanoseconds here are a thousand times that.
CREATE TABLE hta_temporal (
  run_id VARCHAR NOT NULL, rank BIGINT NOT NULL,
  idle_ns DOUBLE, compute_ns DOUBLE, non_compute_ns DOUBLE, kernel_ns DOUBLE -- kernel_ns: first start to last end
);

CREATE TABLE hta_idle (
  run_id VARCHAR NOT NULL, rank BIGINT NOT NULL, stream BIGINT NOT NULL,
  category VARCHAR NOT NULL,       -- host_wait, kernel_wait or other
  idle_ns DOUBLE, share DOUBLE     -- of the stream's idle time
);

CREATE TABLE hta_launch (
  run_id VARCHAR NOT NULL, rank BIGINT NOT NULL,
  correlation BIGINT NOT NULL,     -- as in kernels
  call_ns DOUBLE, kernel_ns DOUBLE, delay_ns DOUBLE -- delay_ns: from the call's end to the kernel's start, at least 0
);

CREATE TABLE hta_critical_path (
  run_id VARCHAR NOT NULL, rank BIGINT NOT NULL,
  edge_type VARCHAR NOT NULL, bound_by VARCHAR, -- cpu_bound, gpu_compute_bound, ...; null for a mere dependency
  event VARCHAR,                   -- whose time it is
  edges BIGINT NOT NULL, duration_ns DOUBLE NOT NULL
);

-- What went wrong with a run without keeping it from being loaded: hta's analyses, or salvage, a trace that breaks off.
CREATE TABLE warnings (
  run_id VARCHAR NOT NULL, source VARCHAR NOT NULL, message VARCHAR NOT NULL
);
