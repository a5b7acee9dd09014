"""Feeds and their episodes."""
