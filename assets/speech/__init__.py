"""Stages that find speakers, words and turns, and summarise an episode."""
