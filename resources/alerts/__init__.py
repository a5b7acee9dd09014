"""Alerts: which ones are raised, who has been told, and the channels that tell people."""
