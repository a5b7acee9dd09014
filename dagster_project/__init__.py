"""What Dagster loads: definitions, settings, automation; and the command line."""
