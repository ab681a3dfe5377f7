-- Hardware counters of each kernel, one row per kernel. A counted kernel without DRAM traffic has 0 bytes, not NULL.
-- FLOPs are executed ones, padded tiles included: tensor operations, and vector instructions (add, multiply, 2 for a
-- multiply-add) if those were counted. Without vector counters, a kernel without tensor operations has NULL and others lack
-- their vector part.
CREATE OR REPLACE VIEW kernel_counters AS
WITH
-- if several sources counted a metric: Ridgeline's own, then Nsight Compute, then the trace
counted AS (
  SELECT
    run_id,
    kernel_id,
    metric,
    COALESCE(MAX(CASE WHEN source = 'cupti' THEN value END), MAX(CASE WHEN source = 'ncu' THEN value END), MAX(value)) AS value
  FROM counters
  GROUP BY run_id, kernel_id, metric
),
summed AS (
  SELECT
    run_id,
    kernel_id,
    SUM(CASE WHEN metric = 'dram__bytes.sum' THEN value END) AS dram_bytes,
    SUM(CASE WHEN metric = 'dram__bytes_read.sum' THEN value END) AS dram_read_bytes,
    SUM(CASE WHEN metric = 'dram__bytes_write.sum' THEN value END) AS dram_write_bytes,
    SUM(CASE WHEN metric = 'lts__t_bytes.sum' THEN value END) AS l2_bytes,
    SUM(CASE WHEN metric = 'l1tex__t_bytes.sum' THEN value END) AS l1_bytes,
    SUM(CASE WHEN metric LIKE 'sm__ops_path_tensor%' THEN value END) AS tensor_flops,
    SUM(CASE
      WHEN metric LIKE 'smsp__sass_thread_inst_executed_op_%fma_pred_on.sum' THEN 2 * value
      WHEN metric LIKE 'smsp__sass_thread_inst_executed_op_%add_pred_on.sum' THEN value
      WHEN metric LIKE 'smsp__sass_thread_inst_executed_op_%mul_pred_on.sum' THEN value
    END) AS vector_flops
  FROM counted
  GROUP BY run_id, kernel_id
)
SELECT
  run_id,
  kernel_id,
  COALESCE(dram_read_bytes + dram_write_bytes, dram_bytes) AS dram_bytes,
  l2_bytes,
  l1_bytes,
  CASE WHEN tensor_flops > 0 OR vector_flops IS NOT NULL THEN COALESCE(tensor_flops, 0) + COALESCE(vector_flops, 0) END AS flops
FROM summed;
