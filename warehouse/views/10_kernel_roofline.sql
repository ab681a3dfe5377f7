-- Every device activity with its price and its position under the roofs; kernel_roofline below is the public part of it.
-- nearest_roof is the roof that sets roof_time_ns. bound is the same where the kernel reached at least half of it: else its
-- time has another cause, and bound is none, or latency if the kernel is shorter than four times the shortest kernel that
-- the device can run (2 µs where that was not measured).
-- A kernel above its roof has a diagnosis. Up to 5 % is the variation of a measured ceiling with clock and power (H200: up
-- to 4.4 %). A rate up to the datasheet's dense peak is one that the device reaches when neither clock nor power limits it.
-- Twice a dense peak is possible on tensor units with 2:4 sparse operands, which their operators and kernels name. A rate up
-- to the device's fastest peak may be another precision. Beyond that, the price is wrong. It is wrong too beyond what the L2
-- delivers (eight times the DRAM's bandwidth where that was not measured; known devices reach two to five), and where the L2
-- cannot hold the bytes that DRAM had no time to move: at most its size before the kernel, for what is read, and its size
-- after the kernel, for what is written. For other bytes, their source says why the L2 explains the rest.
-- A price by which a kernel exceeds its roof by more than 5 % loses its high confidence, unless the reason is the clock of
-- the measured peak or sparse operands: what the device cannot do, the kernel did not do.
-- The peak of 3xtf32, which is fp32 computed in three products of tf32, is a third of that of tf32.
-- basis says what a kernel's time can be compared with:
--   roof           a roof and a price of high confidence
--   guess          a roof by a price of low confidence
--   communication  bytes over links, which set its time
--   no roof        neither price nor roof
-- Bytes over a link (communication, copies to the host and to other devices) have the link's roof, if it is known, and no
-- roof of the device. Bytes of communication are bytes over a link alone: what it moves in the device's memory is unknown.
-- A diagnosis says so where it rests on a guessed price, and where the compute roof is unknown.
-- cause is a rule of why a kernel is slow, and its text has the evidence. Each rule is a column why_, NULL where it does not
-- hold; of several the first by place counts (kernel_causes has all). They hold for kernels below half of their roof, and:
--   short      of latency's bound
--   few_blocks, also where the roof is unknown: blocks that do not exist cannot work. Below the compute roof always, since it
--              needs all multiprocessors, while fewer may saturate the DRAM
--   tail       below the compute roof always; a full last wave would save at least half of the lost time
--   padding    counted FLOPs exceed those of the algorithm by half or more
--   strided    three times the compulsory bytes passed the L1, or the L2 for at least a fifth of the time (half as much again is
--              usual of an L2 in two parts), not of families that read operands again and again; or the name says that the
--              kernel loads no vectors (PyTorch's Loops.cuh and Shape.cu, CUTLASS' alignment in elements)
--   l2_hits    DRAM moved at most half of the compulsory bytes, which at the DRAM's bandwidth take half of the time or more
--   occupancy  less than a quarter of the warps that fit, on vector units, not of products: these need few
--   split_k    by the kernel's name
--   clock      between half of the compute roof and all of it, in a run that ran at a limit of power or heat most of the time,
--              if its highest clock would save at least half of the lost time. Telemetry covers the timed run alone
CREATE OR REPLACE VIEW placed_kernels AS
WITH limits AS (
  SELECT run_id, resource, level, unit, precision, value
  FROM roofs
),
bandwidths AS (
  SELECT
    run_id,
    MAX(CASE WHEN resource = 'bandwidth' AND level = 'dram' THEN value END) AS dram_bytes_per_s,
    MAX(CASE WHEN resource = 'bandwidth' AND level = 'l2' THEN value END) AS l2_bytes_per_s,
    MAX(CASE WHEN resource = 'bandwidth' AND level = 'link' AND unit = 'device' THEN value END) AS device_link_bytes_per_s,
    MAX(CASE WHEN resource = 'bandwidth' AND level = 'link' AND unit = 'host' THEN value END) AS host_link_bytes_per_s,
    MAX(CASE WHEN resource = 'latency' THEN value END) * 1000000000 AS floor_ns,
    MAX(CASE WHEN resource = 'compute' THEN value END) AS fastest_flops_per_s
  FROM limits
  GROUP BY run_id
),
caches AS (
  SELECT run_id, MAX(l2_bytes) AS l2_capacity_bytes
  FROM devices
  GROUP BY run_id
),
peaks AS (
  SELECT run_id, unit, precision, MAX(value) AS flops_per_s
  FROM limits
  WHERE resource = 'compute'
  GROUP BY run_id, unit, precision
),
dense AS (
  SELECT d.run_id, c.unit, c.precision, MAX(c.value) AS flops_per_s
  FROM devices d
  JOIN ceilings c ON c.run_id IS NULL AND c.device = d.datasheet AND c.resource = 'compute'
  GROUP BY d.run_id, c.unit, c.precision
),
-- NVML's throttle reasons: 4 and 128 are limits of power, 8, 32 and 64 of heat. A limit that leaves the clock alone costs nothing
held AS (
  SELECT
    run_id,
    CASE
      WHEN AVG(CASE WHEN TRY_CAST(throttle_reasons AS BIGINT) & 132 <> 0 THEN 1.0 ELSE 0.0 END) >= 0.5 THEN 'at the power limit in '
      ELSE 'throttled by heat in '
    END
      || CAST(ROUND(AVG(CASE WHEN TRY_CAST(throttle_reasons AS BIGINT) & 236 <> 0 THEN 100.0 ELSE 0.0 END)) AS BIGINT)
      || ' % of the samples of the timed run: ' || CAST(AVG(sm_clock_hz) / 1000000000 AS DECIMAL(18, 2)) || ' of '
      || CAST(MAX(sm_clock_hz) / 1000000000 AS DECIMAL(18, 2)) || ' GHz'
      || COALESCE(', ' || CAST(ROUND(AVG(power_w)) AS BIGINT) || ' W', '')
      || ': at most ' || CAST(ROUND(100 * (1 - AVG(sm_clock_hz) / NULLIF(MAX(sm_clock_hz), 0))) AS BIGINT) || ' % of its time' AS text,
    AVG(sm_clock_hz) / NULLIF(MAX(sm_clock_hz), 0) AS clock_share
  FROM telemetry
  GROUP BY run_id
  HAVING AVG(CASE WHEN TRY_CAST(throttle_reasons AS BIGINT) & 236 <> 0 THEN 1.0 ELSE 0.0 END) >= 0.5
    AND AVG(sm_clock_hz) < 0.97 * MAX(sm_clock_hz)
),
-- the columns that kernels of a class share: joined once for each of a few hundred classes, not for every kernel
classes AS (
  SELECT
    c.run_id,
    c.class_id,
    r.name,
    r.mode,
    r.execution,
    c.category,
    c.kernel,
    c.family,
    s.operator,
    s.shapes,
    c.module,
    c.attribution,
    c.phase,
    c.unit = 'tensor' AND (
      s.operator LIKE '%sparse_semi_structured%' OR s.operator LIKE '%cslt_sparse%' OR LOWER(c.kernel) LIKE '%spmma%'
      OR LOWER(c.kernel) LIKE '%sparse%gemm%' OR LOWER(c.kernel) LIKE '%gemm%sparse%'
    ) AS has_sparse_operands,
    c.unit,
    c.precision,
    s.confidence AS signature_confidence,
    s.flops AS call_flops,
    s.read_bytes + s.write_bytes AS call_bytes,
    c.replayed,
    s.link_bytes AS call_link_bytes,
    CASE
      WHEN c.category = 'memcpy' AND (c.kernel LIKE '%HtoD%' OR c.kernel LIKE '%DtoH%' OR c.kernel LIKE '%Host%') THEN 'host'
      WHEN c.category = 'memcpy' AND c.kernel LIKE '%PtoP%' THEN 'device'
      WHEN c.category NOT IN ('memcpy', 'memset') AND c.family = 'communication' THEN 'communication'
    END AS link,
    b.device_link_bytes_per_s,
    b.host_link_bytes_per_s,
    pk.flops_per_s / CASE WHEN c.precision = '3xtf32' THEN 3 ELSE 1 END AS roof_flops_per_s,
    b.fastest_flops_per_s,
    GREATEST(1.05 * pk.flops_per_s, COALESCE(dn.flops_per_s, 0)) / CASE WHEN c.precision = '3xtf32' THEN 3 ELSE 1 END
      AS dense_flops_per_s,
    b.dram_bytes_per_s,
    b.l2_bytes_per_s,
    b.floor_ns,
    l.l2_capacity_bytes,
    g.grid_blocks,
    g.block_threads,
    c.registers,
    c.shared_bytes,
    g.occupancy,
    g.few_blocks,
    g.tail,
    1 - g.waves / NULLIF(CEIL(g.waves), 0) AS tail_share,
    CASE WHEN c.unit = 'vector' AND c.family NOT IN ('matmul', 'attention', 'convolution', 'recurrent') THEN g.low_occupancy END
      AS low_occupancy,
    CASE
      WHEN c.kernel LIKE '%::unrolled_elementwise_kernel<%WithCast%'
        THEN 'unrolled_elementwise_kernel converts types: it loads one element at a time, not vectors of up to 16 bytes'
      WHEN c.kernel LIKE '%::unrolled_elementwise_kernel<%'
        THEN 'unrolled_elementwise_kernel loads one element at a time, not vectors of up to 16 bytes'
      -- releases before 1.7 name contiguous loops so too, with other numbers
      WHEN c.kernel LIKE '%::elementwise_kernel<128, %'
        THEN 'elementwise_kernel loads one element at a time: an operand is strided or broadcast'
      WHEN c.kernel LIKE '%::CatArrayBatchedCopy<%'
        THEN 'CatArrayBatchedCopy loads one element at a time: an input is not contiguous'
      WHEN c.unit = 'tensor' AND c.precision IN ('fp16', 'bf16', 'tf32') AND (c.kernel LIKE '%align1>%' OR c.kernel LIKE '%align1')
        THEN 'loads one element at a time (align1 in its name), as for rows that are no multiple of 16 bytes'
      WHEN c.unit = 'tensor' AND c.precision IN ('fp16', 'bf16') AND (c.kernel LIKE '%align2>%' OR c.kernel LIKE '%align2')
        THEN 'loads two elements at a time (align2 in its name), as for rows that are no multiple of 16 bytes'
    END AS narrow,
    CASE
      WHEN LOWER(c.kernel) LIKE '%splitkreduce%' THEN 'adds up partial products: the product was split along K'
      WHEN LOWER(c.kernel) LIKE '%splitk%' AND LOWER(c.kernel) NOT LIKE '%splitkv%' OR LOWER(c.kernel) LIKE '%split_k%'
        THEN 'split along K, as its name says: partial products pass through memory'
    END AS split_k,
    h.text AS held,
    h.clock_share,
    'under ' || CAST(COALESCE(4 * b.floor_ns, 8000) / 1000 AS DECIMAL(18, 1)) || ' µs, '
      || CASE WHEN b.floor_ns IS NULL THEN 'four times 2 µs, since no launch was measured' ELSE 'four times the shortest launch' END
      AS short_text
  FROM kernel_classes c
  JOIN runs r ON r.run_id = c.run_id
  LEFT JOIN signatures s ON s.signature_id = c.signature_id
  LEFT JOIN peaks pk ON pk.run_id = c.run_id AND pk.unit = c.unit
    AND pk.precision = CASE WHEN c.precision = '3xtf32' THEN 'tf32' ELSE c.precision END
  LEFT JOIN dense dn ON dn.run_id = c.run_id AND dn.unit = c.unit
    AND dn.precision = CASE WHEN c.precision = '3xtf32' THEN 'tf32' ELSE c.precision END
  LEFT JOIN bandwidths b ON b.run_id = c.run_id
  LEFT JOIN caches l ON l.run_id = c.run_id
  LEFT JOIN held h ON h.run_id = c.run_id
  LEFT JOIN launch_geometry g ON g.run_id = c.run_id AND g.class_id = c.class_id
),
priced AS (
  SELECT
    k.run_id,
    k.kernel_id,
    k.step_id,
    k.class_id,
    k.stack_id,
    k.share,
    c.category,
    c.name,
    c.mode,
    c.execution,
    k.rank,
    k.device_index,
    k.stream,
    c.kernel,
    c.family,
    c.operator,
    c.shapes,
    c.module,
    COALESCE(t.phase, c.phase) AS phase,
    t.phase AS step_phase,
    t.kind,
    t.step,
    t.iteration,
    k.start_ns,
    k.duration_ns,
    k.launch_ns,
    c.attribution,
    c.replayed,
    COALESCE(c.signature_confidence = 'high', k.trace_bytes IS NOT NULL) AS has_price,
    c.has_sparse_operands,
    c.precision,
    c.unit,
    COALESCE(c.call_flops * k.share, m.flops) AS flops,
    CASE WHEN c.call_flops * k.share IS NOT NULL THEN 'algorithm' WHEN m.flops IS NOT NULL THEN 'counter' ELSE 'none' END
      AS flops_source,
    m.flops AS counter_flops,
    COALESCE(c.call_flops * k.share, m.flops) / c.roof_flops_per_s * 1000000000 AS compute_time_ns,
    COALESCE(c.call_flops * k.share, m.flops) / NULLIF(k.duration_ns, 0) * 1000000000 AS achieved_flops_per_s,
    CASE WHEN k.trace_bytes IS NULL AND c.link IS NULL THEN COALESCE(k.launch_bytes, c.call_bytes * k.share) END
      AS compulsory_bytes,
    CASE WHEN c.link IS NULL THEN k.cache_read_bytes + k.cache_write_bytes END AS cache_model_bytes,
    m.dram_bytes AS counter_dram_bytes,
    CAST(k.trace_bytes AS DOUBLE) AS trace_bytes,
    c.link,
    -- a kernel that only its own arguments describe has no operator and no share
    CASE
      WHEN c.link = 'communication' THEN c.call_link_bytes * COALESCE(k.share, 1) WHEN c.link IS NOT NULL THEN k.trace_bytes
    END AS link_bytes,
    CASE WHEN c.link = 'host' THEN c.host_link_bytes_per_s ELSE c.device_link_bytes_per_s END AS link_bytes_per_s,
    m.l2_bytes,
    m.l2_bytes / c.l2_bytes_per_s * 1000000000 AS l2_time_ns,
    m.l1_bytes,
    c.roof_flops_per_s,
    c.fastest_flops_per_s,
    c.dense_flops_per_s,
    c.dram_bytes_per_s,
    c.l2_bytes_per_s,
    c.floor_ns,
    c.l2_capacity_bytes,
    c.grid_blocks,
    c.block_threads,
    c.registers,
    c.shared_bytes,
    c.occupancy,
    c.few_blocks,
    c.tail,
    c.tail_share,
    c.low_occupancy,
    c.narrow,
    c.split_k,
    c.held,
    c.clock_share,
    c.short_text
  FROM kernels k
  JOIN classes c ON c.run_id = k.run_id AND c.class_id = k.class_id
  LEFT JOIN steps t ON t.run_id = k.run_id AND t.step_id = k.step_id
  LEFT JOIN kernel_counters m ON m.run_id = k.run_id AND m.kernel_id = k.kernel_id
),
-- The kernel's own duration refutes a model that needs over 5 % more time: smaller compulsory bytes are better then.
best AS (
  SELECT
    p.*,
    CASE
      WHEN p.counter_dram_bytes IS NOT NULL THEN p.counter_dram_bytes
      WHEN p.trace_bytes IS NOT NULL THEN p.trace_bytes
      WHEN p.cache_model_bytes > p.compulsory_bytes AND p.cache_model_bytes > 1.05 * p.dram_bytes_per_s * p.duration_ns / 1000000000
        THEN p.compulsory_bytes
      ELSE COALESCE(p.cache_model_bytes, p.compulsory_bytes)
    END AS dram_bytes,
    CASE
      WHEN p.counter_dram_bytes IS NOT NULL THEN 'counter'
      WHEN p.trace_bytes IS NOT NULL THEN 'trace'
      WHEN p.cache_model_bytes > p.compulsory_bytes AND p.cache_model_bytes > 1.05 * p.dram_bytes_per_s * p.duration_ns / 1000000000
        THEN 'compulsory'
      WHEN p.cache_model_bytes IS NOT NULL THEN 'cache_model'
      WHEN p.compulsory_bytes IS NOT NULL THEN 'compulsory'
      ELSE 'none'
    END AS dram_bytes_source
  FROM priced p
),
roofed AS (
  SELECT
    q.*,
    CASE
      WHEN q.link IS NOT NULL THEN q.link_bytes / q.link_bytes_per_s * 1000000000
      ELSE GREATEST(q.compute_time_ns, q.dram_bytes / q.dram_bytes_per_s * 1000000000, q.l2_time_ns)
    END AS roof_time_ns
  FROM best q
),
bounded AS (
  SELECT
    f.*,
    f.roof_time_ns / NULLIF(f.duration_ns, 0) AS roof_fraction,
    f.dram_bytes / NULLIF(f.duration_ns, 0) * 1000000000 AS achieved_bytes_per_s,
    -- A condition of its own, here and below: what the first WHEN reads, DuckDB computes once for all branches. Behind an OR
    -- it computes the roof again in every branch, and the view takes twice as long.
    CASE
      WHEN f.roof_time_ns IS NULL THEN 'none'
      WHEN f.roof_time_ns = 0 THEN 'none'
      WHEN f.link IS NOT NULL THEN 'link'
      WHEN f.roof_time_ns = f.compute_time_ns THEN 'compute'
      WHEN f.roof_time_ns = f.l2_time_ns THEN 'l2'
      ELSE 'dram'
    END AS nearest_roof
  FROM roofed f
),
judged AS (
  SELECT
    b.*,
    CASE
      WHEN roof_time_ns IS NULL THEN 'none'
      WHEN duration_ns = 0 THEN 'none'
      WHEN roof_time_ns >= 0.5 * duration_ns THEN nearest_roof
      WHEN duration_ns < 4 * COALESCE(floor_ns, 2000) THEN 'latency'
      ELSE 'none'
    END AS bound,
    CASE
      WHEN NOT has_price THEN 'low'
      WHEN roof_fraction > 1.05 AND NOT (
        nearest_roof = 'compute' AND flops_source = 'algorithm' AND (
          achieved_flops_per_s <= dense_flops_per_s
          OR (achieved_flops_per_s <= 2 * dense_flops_per_s AND has_sparse_operands)
        )
      ) THEN 'low'
      ELSE 'high'
    END AS confidence,
    NOT has_price AND CASE nearest_roof
      WHEN 'compute' THEN flops_source = 'algorithm' WHEN 'dram' THEN dram_bytes_source IN ('cache_model', 'compulsory')
    END AS guessed,
    -- what DRAM had no time to move
    COALESCE(compulsory_bytes, dram_bytes) - duration_ns * dram_bytes_per_s / 1000000000 AS cached_bytes,
    compute_time_ns IS NOT NULL OR COALESCE(flops, 1) = 0 OR dram_bytes_source = 'trace' AS compute_is_known,
    COALESCE(share = 0 AND compulsory_bytes IS NOT NULL, FALSE) AS is_helper,
    COALESCE(
      link IS NULL AND roof_fraction < 0.5 AND duration_ns >= 4 * COALESCE(floor_ns, 2000)
      AND (share > 0 OR share IS NULL OR compulsory_bytes IS NULL), FALSE
    ) AS is_slow,
    COALESCE(link IS NULL AND nearest_roof = 'compute' AND roof_fraction >= 0.5 AND roof_fraction <= 1, FALSE) AS computes,
    -- texts that hold below half of the roof
    CASE
      WHEN flops_source = 'algorithm' AND counter_flops >= 1.5 * flops AND flops > 0
        THEN 'executes ' || CAST(counter_flops / flops AS DECIMAL(18, 1)) || ' times its FLOPs'
          || CASE WHEN family = 'matmul' THEN ': padded tiles' ELSE ': padding, or work that its algorithm does not count' END
    END AS padded,
    CASE
      WHEN narrow IS NOT NULL THEN narrow
      WHEN family IN ('matmul', 'attention', 'convolution', 'recurrent') THEN NULL
      WHEN l1_bytes >= 3 * compulsory_bytes AND compulsory_bytes > 0
        THEN CAST(ROUND(l1_bytes / compulsory_bytes) AS BIGINT) || ' times its compulsory bytes passed the L1: strided, scattered or repeated access'
      WHEN l2_bytes >= 3 * compulsory_bytes AND compulsory_bytes > 0 AND COALESCE(l2_time_ns, duration_ns) >= 0.2 * duration_ns
        THEN CAST(ROUND(l2_bytes / compulsory_bytes) AS BIGINT) || ' times its compulsory bytes passed the L2: strided, scattered or repeated access'
    END AS strided,
    CASE
      WHEN counter_dram_bytes <= 0.5 * compulsory_bytes AND compulsory_bytes > 0
        AND compulsory_bytes >= 0.5 * dram_bytes_per_s * duration_ns / 1000000000
        THEN 'DRAM moved ' || CASE
            WHEN counter_dram_bytes < 0.05 * compulsory_bytes THEN 'under 5'
            ELSE CAST(CAST(10 * ROUND(10 * counter_dram_bytes / compulsory_bytes) AS BIGINT) AS VARCHAR)
          END || ' % of its compulsory bytes: the L2 cache served the rest'
    END AS served,
    -- a cause explains at least half of the lost time. First a condition that few kernels meet: the others need no roof
    CASE WHEN tail IS NULL THEN NULL WHEN tail_share >= 0.5 * (1 - roof_fraction) THEN tail END AS costly_tail,
    CASE WHEN held IS NULL THEN NULL WHEN 1 - clock_share >= 0.5 * (1 - roof_fraction) THEN held END AS costly_clock
  FROM bounded b
)
SELECT
  run_id, kernel_id, class_id, step_id, step_phase, stack_id, category, name, mode, execution, rank, device_index, stream, kernel, family, operator, shapes, module, phase, kind, step,
  iteration, start_ns, duration_ns, attribution, confidence, precision, unit, flops, flops_source, counter_flops, dram_bytes,
  dram_bytes_source, compulsory_bytes, cache_model_bytes, counter_dram_bytes, l2_bytes, l1_bytes, link_bytes,
  flops / NULLIF(dram_bytes, 0) AS intensity,
  achieved_flops_per_s, achieved_bytes_per_s, roof_flops_per_s, roof_time_ns, compute_time_ns, roof_fraction,
  nearest_roof, bound,
  CASE
    WHEN link IS NOT NULL THEN 'communication'
    WHEN roof_time_ns IS NULL THEN 'no roof'
    WHEN confidence = 'high' THEN 'roof'
    ELSE 'guess'
  END AS basis,
  -- The texts of kernel_causes, in its order, but not its columns why_: each of these would compute the roof again for every
  -- kernel, and the view would take four times as long.
  CASE
    WHEN link IS NOT NULL THEN CASE
      WHEN roof_fraction > 1.05 AND link = 'communication'
        THEN 'above the roof of its link: a switch reduced or copied the data, or ranks of one device exchanged it'
      WHEN roof_fraction > 1.05 THEN 'above the roof of its link: the link is another one than the datasheet''s'
      WHEN roof_fraction >= 0.5 THEN NULL
      WHEN link = 'communication' AND roof_time_ns IS NULL
        THEN 'communication: no roof of the device applies to bytes over links'
      WHEN link = 'communication'
        THEN 'far from the roof of its link: it waited for other ranks, sent little, or crossed a slower link'
      WHEN link = 'host' AND roof_time_ns IS NULL THEN 'over the link to the host: no roof of the device applies'
      WHEN link = 'host' THEN 'far from the roof of the link to the host'
      WHEN roof_time_ns IS NULL THEN 'over the link to another device: no roof of the device applies'
      ELSE 'far from the roof of the link to another device'
    END
    -- one case of its own: 18 branches would each compare the fraction of every kernel
    WHEN roof_fraction > 1 THEN CASE
      WHEN guessed THEN 'above its roof: its price is a guess'
      WHEN bound = 'compute' AND flops_source = 'counter'
        THEN 'above the compute roof: its FLOPs were counted in another launch, or its peak is not the one of its precision'
      WHEN bound = 'compute' AND roof_fraction <= 1.05
        THEN 'above the compute roof by at most 5 %: the clock was higher than the one of its peak'
      WHEN bound = 'compute' AND achieved_flops_per_s <= dense_flops_per_s
        THEN 'above the measured compute roof, below the datasheet''s: power or clock held the measurement back'
      WHEN bound = 'compute' AND achieved_flops_per_s <= 2 * dense_flops_per_s AND has_sparse_operands
        THEN 'above the compute roof: sparse operands run at up to twice the dense peak'
      WHEN bound = 'compute' AND achieved_flops_per_s <= 1.05 * fastest_flops_per_s
        THEN 'above the compute roof: a faster precision or unit computed it, or it computed less than its price says'
      WHEN bound = 'compute'
        THEN 'above every compute roof of the device: it computed less than its price says'
      WHEN bound = 'dram' AND dram_bytes_source <> 'counter' AND achieved_bytes_per_s > COALESCE(1.05 * l2_bytes_per_s, 8 * dram_bytes_per_s)
        THEN 'above the DRAM and the L2 roof: it moved less than its price says'
      WHEN bound = 'dram' AND dram_bytes_source <> 'counter' AND cached_bytes > 2 * l2_capacity_bytes
        THEN 'above the DRAM roof by more than the L2 cache holds: it moved less than its price says'
      WHEN bound = 'dram' AND dram_bytes_source <> 'counter' AND l2_bytes_per_s IS NULL
        AND l2_capacity_bytes IS NULL
        THEN 'above the DRAM roof: part came from a cache of unknown size, or it moved less than its price says'
      WHEN bound = 'dram' AND dram_bytes_source = 'compulsory'
        THEN 'above the DRAM roof: part of its bytes came from the L2 cache, which compulsory bytes ignore'
      WHEN bound = 'dram' AND dram_bytes_source = 'cache_model'
        THEN 'above the DRAM roof: the L2 cache kept more than the model of it says'
      WHEN bound = 'dram' AND dram_bytes_source = 'trace'
        THEN 'above the DRAM roof: part of what it copied or filled stayed in the L2 cache'
      WHEN roof_fraction <= 1.05 THEN 'above its bandwidth by at most 5 %: within the spread of measurements'
      WHEN bound = 'l2' THEN 'above the L2 roof: its bytes were counted in another launch'
      ELSE 'above its bandwidth: its bytes were counted in another launch, which found less in the L2 cache'
    END
    WHEN compulsory_bytes IS NOT NULL AND share = 0 THEN 'overhead of its operator: the main kernels carry the cost' || COALESCE('; ' || split_k, '')
    WHEN bound = 'latency' THEN 'too short for any roof to matter: ' || short_text
    WHEN attribution = 'unattributed' AND launch_ns IS NULL THEN 'no operator: its launch was not recorded' || COALESCE('; ' || few_blocks, '')
    WHEN attribution = 'unattributed' AND replayed THEN 'no operator: replayed from a graph' || COALESCE('; ' || few_blocks, '')
    WHEN attribution = 'unattributed' AND NOT replayed THEN 'no operator: launched outside any operator' || COALESCE('; ' || few_blocks, '')
    -- runs that older releases analyzed
    WHEN attribution = 'unattributed' THEN 'no operator: replayed from a graph or launched outside any operator'
    WHEN attribution = 'before_recording' THEN 'launched before recording began' || COALESCE('; ' || few_blocks, '')
    WHEN attribution = 'profiler_range' AND dram_bytes_source = 'none'
      THEN 'no operator: a range of counters in the place of kernels'
    WHEN dram_bytes_source = 'none' AND shapes IS NULL THEN 'its operator recorded no operands' || COALESCE('; ' || few_blocks, '')
    WHEN dram_bytes_source = 'none' THEN 'its operator has no price' || COALESCE('; ' || few_blocks, '')
    WHEN roof_fraction < 0.5 AND nearest_roof <> 'none' THEN COALESCE(NULLIF(CONCAT_WS(
      '; ',
      CASE
        WHEN guessed THEN 'far from its roof, if the guess of its price is right'
        WHEN nearest_roof IN ('dram', 'l2') AND NOT compute_is_known THEN 'far from its bandwidth; its compute roof is unknown'
      END,
      COALESCE(
        few_blocks, CASE WHEN nearest_roof = 'compute' THEN padded END, strided, CASE WHEN nearest_roof = 'dram' THEN served END,
        costly_tail, low_occupancy, split_k
      )
    ), ''), 'far from its roof')
    WHEN nearest_roof = 'compute' THEN COALESCE(few_blocks, costly_tail, costly_clock)
  END AS diagnosis,
  CASE
    WHEN roof_fraction < 0.5 THEN CASE
      WHEN link = 'communication' THEN 'waits'
      WHEN link IS NOT NULL THEN NULL
      WHEN compulsory_bytes IS NOT NULL AND share = 0 THEN CASE WHEN split_k IS NULL THEN 'helper' ELSE 'split_k' END
      WHEN duration_ns < 4 * COALESCE(floor_ns, 2000) THEN 'short'
      WHEN few_blocks IS NOT NULL THEN 'few_blocks'
      WHEN nearest_roof = 'compute' AND padded IS NOT NULL THEN 'padding'
      WHEN strided IS NOT NULL THEN 'strided'
      WHEN nearest_roof = 'dram' AND served IS NOT NULL THEN 'l2_hits'
      WHEN costly_tail IS NOT NULL THEN 'tail'
      WHEN low_occupancy IS NOT NULL THEN 'occupancy'
      WHEN split_k IS NOT NULL THEN 'split_k'
    END
    WHEN roof_fraction <= 1 THEN CASE
      WHEN link IS NOT NULL THEN NULL
      WHEN compulsory_bytes IS NOT NULL AND share = 0 THEN CASE WHEN split_k IS NULL THEN 'helper' ELSE 'split_k' END
      WHEN nearest_roof <> 'compute' THEN NULL
      WHEN few_blocks IS NOT NULL THEN 'few_blocks'
      WHEN costly_tail IS NOT NULL THEN 'tail'
      WHEN costly_clock IS NOT NULL THEN 'clock'
    END
    WHEN roof_fraction IS NULL AND link IS NULL AND few_blocks IS NOT NULL THEN 'few_blocks'
  END AS cause,
  grid_blocks, block_threads, registers, shared_bytes, occupancy,
  CASE WHEN bound = 'latency' AND link IS NULL AND NOT is_helper THEN short_text END AS why_short,
  CASE WHEN is_slow OR computes OR (roof_time_ns IS NULL AND link IS NULL AND NOT is_helper) THEN few_blocks END AS why_few_blocks,
  CASE WHEN is_slow OR computes THEN costly_tail END AS why_tail,
  CASE WHEN is_slow AND nearest_roof = 'compute' THEN padded END AS why_padding,
  CASE WHEN is_slow THEN strided END AS why_strided,
  CASE WHEN is_slow AND nearest_roof = 'dram' THEN served END AS why_l2_hits,
  CASE WHEN is_slow THEN low_occupancy END AS why_occupancy,
  CASE WHEN is_slow OR is_helper THEN split_k END AS why_split_k,
  CASE WHEN computes THEN costly_clock END AS why_clock
FROM judged;

-- One row per device activity (kernel, memcpy, memset; never annotations).
CREATE OR REPLACE VIEW kernel_roofline AS
SELECT
  run_id, kernel_id, name, mode, execution, rank, device_index, stream, kernel, family, operator, shapes, module, phase, kind, step,
  iteration, start_ns, duration_ns, attribution, confidence, precision, unit, flops, flops_source, counter_flops, dram_bytes,
  dram_bytes_source, compulsory_bytes, cache_model_bytes, counter_dram_bytes, l2_bytes, l1_bytes, link_bytes, intensity,
  achieved_flops_per_s, achieved_bytes_per_s, roof_flops_per_s, roof_time_ns, roof_fraction, nearest_roof, bound,
  diagnosis, grid_blocks, block_threads, registers, shared_bytes, occupancy
FROM placed_kernels;

-- Every cause that holds for a kernel, the first by place being that of kernel_roofline's diagnosis. limit_fraction is the
-- fraction of its roof that the kernel can reach at most while the cause lasts, where that follows: of the compute roof,
-- which needs all multiprocessors (blocks that take equally long), and of executed FLOPs.
CREATE OR REPLACE VIEW kernel_causes AS
WITH causes AS (
  SELECT
    k.run_id,
    k.kernel_id,
    k.class_id,
    k.nearest_roof,
    k.flops / NULLIF(k.counter_flops, 0) AS needed_share,
    l.place AS rule,
    l.cause,
    CASE l.cause
      WHEN 'short' THEN k.why_short
      WHEN 'few_blocks' THEN k.why_few_blocks
      WHEN 'tail' THEN k.why_tail
      WHEN 'padding' THEN k.why_padding
      WHEN 'strided' THEN k.why_strided
      WHEN 'l2_hits' THEN k.why_l2_hits
      WHEN 'occupancy' THEN k.why_occupancy
      WHEN 'split_k' THEN k.why_split_k
      WHEN 'clock' THEN k.why_clock
      WHEN k.cause THEN k.diagnosis
    END AS evidence
  FROM placed_kernels k
  CROSS JOIN (
    SELECT 1 AS place, 'short' AS cause UNION ALL SELECT 2, 'few_blocks' UNION ALL SELECT 3, 'padding' UNION ALL SELECT 4, 'strided'
    UNION ALL SELECT 5, 'l2_hits' UNION ALL SELECT 6, 'tail' UNION ALL SELECT 7, 'occupancy' UNION ALL SELECT 8, 'split_k'
    UNION ALL SELECT 9, 'clock' UNION ALL SELECT 10, 'waits' UNION ALL SELECT 11, 'helper'
  ) l
)
SELECT
  c.run_id,
  c.kernel_id,
  ROW_NUMBER() OVER (PARTITION BY c.run_id, c.kernel_id ORDER BY c.rule) AS place,
  c.cause,
  CASE
    WHEN c.nearest_roof = 'compute' AND c.cause IN ('few_blocks', 'tail') THEN g.multiprocessor_share
    WHEN c.cause = 'padding' THEN c.needed_share
  END AS limit_fraction,
  c.evidence
FROM causes c
LEFT JOIN launch_geometry g ON g.run_id = c.run_id AND g.class_id = c.class_id
WHERE c.evidence IS NOT NULL;

-- FLOPs that a kernel executed against those that its algorithm needs, where both are known. padding is the share of
-- executed FLOPs that the algorithm does not need (7/8 if one row fills a tile of eight). It is negative if the algorithm
-- has FLOPs that no counter covers: vector work beside tensor operations, or tensor units of another precision.
CREATE OR REPLACE VIEW padding AS
SELECT
  run_id, kernel_id, kernel, family, operator, module, phase, kind, step, duration_ns, unit, precision,
  flops AS algorithm_flops,
  counter_flops,
  1 - flops / counter_flops AS padding
FROM kernel_roofline
WHERE flops_source = 'algorithm' AND counter_flops > 0;
