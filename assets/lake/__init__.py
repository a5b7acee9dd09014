"""Compaction and the DuckDB file."""
