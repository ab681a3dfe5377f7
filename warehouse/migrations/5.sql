-- To schema 5: descriptions as rows. migrations/__init__.py removes the comments of schema 4.
CREATE TABLE descriptions (table_name VARCHAR NOT NULL, column_name VARCHAR, description VARCHAR NOT NULL);
