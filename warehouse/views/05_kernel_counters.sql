-- What the hardware counted of each kernel. Counters measure what happened: a kernel that moved no DRAM bytes has 0 of them.
-- They count the FLOPs executed, those of padded tiles too: tensor operations, and vector instructions (add, multiply, 2 for a
-- multiply-add) if those were counted; where they were not, a kernel without tensor operations has no count, and others lack
-- their vector part.
CREATE OR REPLACE VIEW kernel_counters AS
WITH
-- a metric that several sources counted is taken from the first of: ours, Nsight Compute, the trace
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
