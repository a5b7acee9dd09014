"""Assets that compact the lake and make the DuckDB file."""
