"""Assets of feeds and their episodes."""
