-- Hardware counters of each kernel, one row per kernel. A counted kernel without DRAM traffic has 0 bytes, not NULL.
-- FLOPs are executed ones, padded tiles included: tensor operations, and vector instructions (add, multiply, 2 for a
-- multiply-add) if those were counted. A counter of tensor operations whose total was counted too is left out: it is a part
-- of it by instruction (_op_), result (_dst_) or sparsity (_sparsity_). Without vector counters, a kernel without tensor operations has NULL and others lack
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
tensor_metrics AS (
  SELECT run_id, metric
  FROM counters
  WHERE metric LIKE 'sm__ops_path_tensor%.sum'
  GROUP BY run_id, metric
),
parts AS (
  SELECT p.run_id, p.metric
  FROM tensor_metrics p
  JOIN tensor_metrics t
    ON t.run_id = p.run_id AND t.metric <> p.metric AND p.metric LIKE REPLACE(
      REPLACE(REPLACE(REPLACE(t.metric, '_src_', '%_src_'), '_dst_', '%_dst_'), '_sparsity_', '%_sparsity_'), '.sum', '%.sum'
    )
  GROUP BY p.run_id, p.metric
),
summed AS (
  SELECT
    c.run_id,
    c.kernel_id,
    SUM(CASE WHEN c.metric = 'dram__bytes.sum' THEN value END) AS dram_bytes,
    SUM(CASE WHEN c.metric = 'dram__bytes_read.sum' THEN value END) AS dram_read_bytes,
    SUM(CASE WHEN c.metric = 'dram__bytes_write.sum' THEN value END) AS dram_write_bytes,
    SUM(CASE WHEN c.metric = 'lts__t_bytes.sum' THEN value END) AS l2_bytes,
    SUM(CASE WHEN c.metric = 'l1tex__t_bytes.sum' THEN value END) AS l1_bytes,
    SUM(CASE WHEN c.metric LIKE 'sm__ops_path_tensor%' AND p.metric IS NULL THEN value END) AS tensor_flops,
    SUM(CASE
      WHEN c.metric LIKE 'smsp__sass_thread_inst_executed_op_%fma_pred_on.sum' THEN 2 * value
      WHEN c.metric LIKE 'smsp__sass_thread_inst_executed_op_%add_pred_on.sum' THEN value
      WHEN c.metric LIKE 'smsp__sass_thread_inst_executed_op_%mul_pred_on.sum' THEN value
    END) AS vector_flops
  FROM counted c
  LEFT JOIN parts p ON p.run_id = c.run_id AND p.metric = c.metric
  GROUP BY c.run_id, c.kernel_id
)
SELECT
  run_id,
  kernel_id,
  COALESCE(dram_read_bytes + dram_write_bytes, dram_bytes) AS dram_bytes,
  l2_bytes,
  l1_bytes,
  CASE WHEN tensor_flops > 0 OR vector_flops IS NOT NULL THEN COALESCE(tensor_flops, 0) + COALESCE(vector_flops, 0) END AS flops
FROM summed;
