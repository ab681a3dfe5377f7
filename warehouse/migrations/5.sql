-- To schema 5: descriptions as rows; the comments of schema 4 are removed by database.py.
CREATE TABLE descriptions (table_name VARCHAR NOT NULL, column_name VARCHAR, description VARCHAR NOT NULL);
