"""Files for other tools, made from the lake."""
