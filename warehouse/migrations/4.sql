-- To schema 4: digests of stored rows.
CREATE TABLE digests (
  run_id VARCHAR, table_name VARCHAR NOT NULL, row_count BIGINT NOT NULL, digest VARCHAR, probe VARCHAR NOT NULL
);
