"""The tables: their definitions (``schema.sql``) and the description of every table, view and column."""
