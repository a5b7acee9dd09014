"""What assets are given: HTTP, audio store, Parquet lake, DuckDB warehouse, engines, GPU leases."""
