"""The batch contract: stages, runs, commits, failures and crashes, without what a particular stage does."""
