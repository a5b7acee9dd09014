"""Writers of transcripts: one module per format, pure functions from a document to text."""
