"""The domain, in plain Python: decoding, chunking, who spoke which word, engines. No Dagster, no lake, no SQL."""
