-- The geometry of each class of kernels, and what one multiprocessor holds of it. A text says what the geometry costs, with
-- its numbers, and is NULL where the geometry costs little or is unknown.
-- resident_blocks is the number of blocks that one multiprocessor runs at a time: the least of what its threads, registers,
-- shared memory and slots for blocks allow (block_limit names which). Warps have 32 threads; registers come in units of 256
-- a warp and in four partitions (two on 6.0), shared memory in units of 128 bytes (256 before 8.0), of which the driver takes
-- 1 KiB a block (none before 8.0). Source of these and of the slots for blocks: cuda_occupancy.h of CUDA 13.0; Nsight
-- Compute's launch__waves_per_multiprocessor agrees. A device whose capability is not listed has unknown waves, and so has one
-- whose capacity the trace lacks; runs on devices that differ have them too.
-- waves is the number of times that all multiprocessors are filled. If blocks take equally long, the last wave takes as long
-- as a full one where a multiprocessor runs one block at a time, and less where several blocks share it.
-- multiprocessor_share is the share of the device that can work at most, if blocks take equally long: one multiprocessor runs
-- at least ceil(blocks / multiprocessors) of them.
-- occupancy is Kineto's, in percent steps. Kineto writes 0 for blocks with over 48 KiB of shared memory and for less than half
-- a percent: then it is computed here, in the same way: threads of the blocks on a multiprocessor over those that fit it.
CREATE OR REPLACE VIEW launch_geometry AS
WITH devices_of_runs AS (
  SELECT
    run_id,
    NULLIF(MAX(multiprocessors), 0) AS multiprocessors,
    MAX(compute_capability) AS capability,
    NULLIF(MAX(multiprocessor_threads), 0) AS threads,
    MAX(multiprocessor_registers) AS registers,
    MAX(multiprocessor_shared_bytes) AS shared_bytes
  FROM devices
  GROUP BY run_id
  HAVING MIN(COALESCE(multiprocessors, 0)) = MAX(multiprocessors)
    AND MIN(COALESCE(compute_capability, '')) = MAX(COALESCE(compute_capability, ''))
    AND MIN(COALESCE(multiprocessor_threads, 0)) = MAX(COALESCE(multiprocessor_threads, 0))
    AND MIN(COALESCE(multiprocessor_registers, 0)) = MAX(COALESCE(multiprocessor_registers, 0))
    AND MIN(COALESCE(multiprocessor_shared_bytes, 0)) = MAX(COALESCE(multiprocessor_shared_bytes, 0))
),
capacities AS (
  SELECT
    *,
    CASE
      WHEN capability IN ('7.5', '8.6', '8.7', '8.8') THEN 16
      WHEN capability IN ('8.9', '10.1', '11.0', '12.0', '12.1') THEN 24
      WHEN capability IN ('5.0', '5.2', '5.3', '6.0', '6.1', '6.2', '7.0', '7.2', '8.0', '9.0', '10.0', '10.3') THEN 32
    END AS blocks,
    CASE WHEN capability = '6.0' THEN 2 ELSE 4 END AS partitions,
    CASE WHEN capability < '8' AND capability NOT LIKE '1_.%' THEN 256 ELSE 128 END AS shared_unit_bytes,
    CASE WHEN capability < '8' AND capability NOT LIKE '1_.%' THEN 0 ELSE 1024 END AS driver_bytes
  FROM devices_of_runs
),
launches AS (
  SELECT
    c.run_id,
    c.class_id,
    c.grid_x * c.grid_y * c.grid_z AS grid_blocks,
    c.block_x * c.block_y * c.block_z AS block_threads,
    CEIL(c.block_x * c.block_y * c.block_z / 32) AS block_warps,
    c.registers,
    c.shared_bytes,
    c.occupancy,
    p.multiprocessors,
    p.threads,
    p.blocks AS by_blocks,
    FLOOR(FLOOR(p.threads / 32) / CEIL(c.block_x * c.block_y * c.block_z / 32)) AS by_threads,
    FLOOR(
      p.partitions * FLOOR(FLOOR(p.registers / p.partitions) / (256 * CEIL(c.registers * 32 / 256)))
      / CEIL(c.block_x * c.block_y * c.block_z / 32)
    ) AS by_registers,
    FLOOR(
      p.shared_bytes / NULLIF(p.shared_unit_bytes * CEIL((c.shared_bytes + p.driver_bytes) / p.shared_unit_bytes), 0)
    ) AS by_shared,
    p.shared_bytes IS NOT NULL AND c.shared_bytes + p.driver_bytes = 0 AS shares_nothing
  FROM kernel_classes c
  LEFT JOIN capacities p ON p.run_id = c.run_id
  WHERE c.grid_x IS NOT NULL OR c.block_x IS NOT NULL OR c.registers IS NOT NULL OR c.shared_bytes IS NOT NULL
    OR c.occupancy IS NOT NULL
),
limited AS (
  SELECT
    *,
    -- no block fits only where the device is not the one that ran it
    CASE
      WHEN by_threads IS NOT NULL AND by_registers IS NOT NULL AND by_blocks IS NOT NULL
        AND (by_shared IS NOT NULL OR shares_nothing)
        THEN NULLIF(LEAST(by_threads, by_registers, by_blocks, COALESCE(by_shared, by_blocks)), 0)
    END AS resident_blocks
  FROM launches
),
filled AS (
  SELECT
    *,
    CASE
      WHEN resident_blocks = by_threads THEN 'threads'
      WHEN resident_blocks = by_registers THEN 'registers'
      WHEN resident_blocks = by_shared THEN 'shared memory'
      WHEN resident_blocks = by_blocks THEN 'blocks'
    END AS block_limit,
    grid_blocks / (multiprocessors * resident_blocks) AS waves,
    grid_blocks / multiprocessors AS blocks_each,
    LEAST(grid_blocks / multiprocessors, resident_blocks) AS running_blocks,
    grid_blocks / multiprocessors / CEIL(grid_blocks / multiprocessors) AS multiprocessor_share
  FROM limited
),
shown AS (
  SELECT
    *,
    COALESCE(NULLIF(occupancy, 0), CASE WHEN resident_blocks IS NOT NULL THEN running_blocks * block_threads / threads END)
      AS known_occupancy,
    CAST(ROUND(running_blocks * block_warps) AS BIGINT) || ' of ' || CAST(FLOOR(threads / 32) AS BIGINT) || ' warps'
      AS warps_text,
    ' blocks of ' || block_threads || ' threads' AS blocks_text
  FROM filled
)
SELECT
  run_id, class_id, grid_blocks, block_threads, registers, shared_bytes,
  known_occupancy AS occupancy,
  multiprocessors,
  CAST(resident_blocks AS BIGINT) AS resident_blocks,
  block_limit, waves, multiprocessor_share,
  CASE
    WHEN grid_blocks <= 0.75 * multiprocessors
      THEN grid_blocks || CASE WHEN grid_blocks = 1 THEN ' block on ' ELSE ' blocks on ' END || multiprocessors
        || ' multiprocessors: at most ' || CAST(GREATEST(1, ROUND(100 * multiprocessor_share)) AS BIGINT) || ' % of them work'
  END AS few_blocks,
  CASE
    WHEN waves > 1 AND waves <= 0.75 * CEIL(waves)
      THEN CAST(waves AS DECIMAL(18, 1)) || ' waves: the ' || CASE WHEN waves < 2 THEN 'second' ELSE 'third' END || ' runs '
        || CAST(GREATEST(1, ROUND(100 * (waves - FLOOR(waves)))) AS BIGINT) || ' % full'
  END AS tail,
  CASE
    WHEN known_occupancy >= 0.25 THEN NULL
    WHEN grid_blocks <= 0.75 * multiprocessors THEN NULL
    WHEN blocks_each < resident_blocks
      THEN CAST(blocks_each AS DECIMAL(18, 1)) || blocks_text || ' for each multiprocessor: ' || warps_text
    WHEN block_limit = 'registers'
      THEN 'registers (' || registers || ' a thread) leave room for ' || CAST(resident_blocks AS BIGINT) || blocks_text || ': ' || warps_text
    WHEN block_limit = 'shared memory'
      THEN 'shared memory (' || shared_bytes || ' bytes a block) leaves room for ' || CAST(resident_blocks AS BIGINT) || blocks_text || ': '
        || warps_text
  END AS low_occupancy
FROM shown;
