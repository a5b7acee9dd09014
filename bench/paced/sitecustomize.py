"""Read at the start of every Python process of the benchmark: there is one more engine."""

from speech.engines import registry

registry.DIARIZERS["paced"] = registry.TRANSCRIBERS["paced"] = "paced_engine"
