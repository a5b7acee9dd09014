"""Fetching over HTTP, and the store of fetched audio."""
