"""HTML pages to read and hear what is in the lake: a page per episode, and the corpus site."""
