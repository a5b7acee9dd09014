"""Assets that write data sets and transcripts for other tools."""
