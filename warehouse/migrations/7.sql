-- To schema 7: bytes of launches.
ALTER TABLE kernels ADD COLUMN launch_bytes BIGINT;
