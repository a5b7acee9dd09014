"""One module per engine; `registry` is where an engine's name becomes an engine."""
