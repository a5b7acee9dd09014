"""The Parquet lake: tables, landings, compaction, DuckDB views, and the catalogue."""
