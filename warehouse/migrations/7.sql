-- To schema 7: bytes of launches, messages of collectives, sources of rules from outside.
ALTER TABLE kernels ADD COLUMN launch_bytes BIGINT;
ALTER TABLE signatures ADD COLUMN collective VARCHAR;
ALTER TABLE signatures ADD COLUMN message_bytes DOUBLE;
ALTER TABLE signatures ADD COLUMN ranks BIGINT;
ALTER TABLE signatures ADD COLUMN link_bytes DOUBLE;
ALTER TABLE signatures ADD COLUMN outside_rules VARCHAR;
-- a copy to another device moves its bytes once through this device's memory
UPDATE kernels SET trace_bytes = trace_bytes // 2
WHERE (run_id, class_id) IN (SELECT run_id, class_id FROM kernel_classes WHERE category = 'memcpy' AND kernel LIKE '%PtoP%');
-- kept rows with new columns are computed anew
DROP TABLE IF EXISTS kept_step_parts;
DROP TABLE IF EXISTS kept_kernel_groups;
