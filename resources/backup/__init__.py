"""Backups: snapshots of the home and its databases, in a folder or under an s3:// prefix, incremental by content."""
