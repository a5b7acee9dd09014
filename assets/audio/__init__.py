"""Stages that download and identify audio."""
