"""Assets that data sets are made from."""
