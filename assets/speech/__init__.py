"""Who speaks when, the words, turns, and a summary."""
