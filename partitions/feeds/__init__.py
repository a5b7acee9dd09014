"""Parsing of RSS, Atom and OPML."""
