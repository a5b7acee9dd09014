"""What is made: one module per step of the lineage; `contract` is the loop that all of them share."""
