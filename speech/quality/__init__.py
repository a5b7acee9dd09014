"""Measures of an utterance. A measure that cannot be made is None, with a reason."""
