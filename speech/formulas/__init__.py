"""LaTeX formulas in words: where they are in a text, what they are as a tree, and how a language says them."""
