"""Fetched audio and what its bytes are."""
