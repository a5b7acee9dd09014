"""What the commands of `podlake` do; `dagster_project.cli` parses their arguments."""
