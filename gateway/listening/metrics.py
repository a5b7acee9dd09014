"""What Prometheus reads of live listening: at the server's end, and what players report of theirs."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BUCKETS_S = (0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300)
OUTCOMES = ("ended", "error", "left", "replaced", "slow", "refused")


class ListeningMetrics:
    """The metrics of an application."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.listeners = Gauge("podlake_listeners", "Connections that listen live.", registry=registry)
        self.connections = Counter(
            "podlake_listening_connections", "Connections that have ended, by outcome.", ["outcome"], registry=registry
        )
        self.audio_seconds = Counter("podlake_listening_audio_seconds", "Audio that was sent live.", registry=registry)
        self.first_audio_seconds = Histogram(
            "podlake_listening_first_audio_seconds", "From the connection to its first audio.", registry=registry,
            buckets=_BUCKETS_S,
        )  # fmt: skip
        self.player_start_seconds = Histogram(
            "podlake_player_start_seconds", "From the click to sound, as players report it.", registry=registry,
            buckets=_BUCKETS_S,
        )  # fmt: skip
        self.rebuffers = Counter(
            "podlake_player_rebuffers", "Times that players ran out of audio, as they report it.", registry=registry
        )
        self.malformed = Counter(
            "podlake_listening_malformed_messages", "Messages of listeners that are none of ours.", registry=registry
        )
        for outcome in OUTCOMES:
            self.connections.labels(outcome)
