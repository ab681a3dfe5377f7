-- To schema 9: the geometry of launches, and what a multiprocessor holds.
ALTER TABLE kernel_classes ADD COLUMN grid_x BIGINT;
ALTER TABLE kernel_classes ADD COLUMN grid_y BIGINT;
ALTER TABLE kernel_classes ADD COLUMN grid_z BIGINT;
ALTER TABLE kernel_classes ADD COLUMN block_x BIGINT;
ALTER TABLE kernel_classes ADD COLUMN block_y BIGINT;
ALTER TABLE kernel_classes ADD COLUMN block_z BIGINT;
ALTER TABLE kernel_classes ADD COLUMN registers BIGINT;
ALTER TABLE kernel_classes ADD COLUMN shared_bytes BIGINT;
ALTER TABLE kernel_classes ADD COLUMN occupancy DOUBLE;
ALTER TABLE devices ADD COLUMN multiprocessor_threads BIGINT;
ALTER TABLE devices ADD COLUMN multiprocessor_registers BIGINT;
ALTER TABLE devices ADD COLUMN multiprocessor_shared_bytes BIGINT;
