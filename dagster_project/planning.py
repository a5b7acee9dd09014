"""Gathers the planner's inputs from the instance, the lake and the settings. Everything that plans uses this."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import dagster as dg

from assets.dataset.utterances import rule_fingerprint
from assets.stages import EPISODE_GRAPH, FEED_GRAPH, GRAPH, STAGES
from dagster_project.build_resources import utterance_rule
from dagster_project.settings import Settings
from partitions.definitions import EPISODES, FEEDS
from pipeline.dagster_internals import move_to_end
from pipeline.in_flight import in_flight
from pipeline.lake_state import LakeState, episode_facts
from pipeline.planner import Batch, batches_of
from pipeline.readiness import Commits, EngineVersions, Episode, InFlight, PlanSettings, Readiness, readiness
from pipeline.stage import Stage
from resources.engines.routing import Engines
from resources.lake.commits import engine_version
from resources.lake.graph import StageGraph
from resources.lake.lake import Lake
from resources.lake.unchanged_polls import unchanged_at
from resources.tiers import load_tiers
from speech.engines import registry
from speech.errors import LanguageWithoutEngine

NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Situation:
    """Everything that a plan depends on, at one moment."""

    graph: StageGraph
    catalogue: Mapping[str, Episode]
    lake: LakeState
    in_flight: InFlight
    now: datetime
    polled_at: Mapping[str, datetime] = field(default_factory=dict)
    """Feed → its last successful poll."""

    @classmethod
    def of_episodes(cls, instance: dg.DagsterInstance, lake: Lake, listed: Commits | None = None) -> Situation:
        """The episodes of the live window, in the order of their partitions."""
        order = instance.get_dynamic_partitions(EPISODES.name or "")
        state = LakeState.read(lake, EPISODE_GRAPH, order, listed)
        return cls(EPISODE_GRAPH, episode_facts(lake.home, order), state, in_flight(instance, order), datetime.now(UTC))

    @classmethod
    def of_feeds(cls, instance: dg.DagsterInstance, lake: Lake) -> Situation:
        order = instance.get_dynamic_partitions(FEEDS.name or "")
        state = LakeState.read(lake, FEED_GRAPH, order)
        feeds = dict.fromkeys(order, Episode())
        (stage,) = FEED_GRAPH.names
        polled_at = {key: commit.landed_at for key, commit in state.commits[stage].items()}
        for key, at in unchanged_at(lake).items():
            polled_at[key] = max(at, polled_at.get(key, at))
        return cls(FEED_GRAPH, feeds, state, in_flight(instance, order), datetime.now(UTC), polled_at)

    def readiness(self, settings: PlanSettings) -> Readiness:
        return readiness(
            self.graph, self.catalogue, self.lake.commits, self.lake.failures, self.in_flight, settings, self.now
        )

    def polls(self, settings: Settings, only: Set[str] | None = None) -> list[Batch]:
        """Batches that poll the feeds, the least recently polled first.

        Feeds in flight and feeds that failed and are not due are left out, unless `only` names them.
        """
        limits = replace(plan_settings(settings), runs_ahead=len(self.catalogue) + 1, only=only)
        unpolled = replace(self, lake=LakeState({}, self.lake.failures))
        if only is not None:
            unpolled = replace(self, lake=LakeState({}, {}), in_flight=InFlight(targets=self.in_flight.all_keys()))
        batches = batches_of(unpolled.readiness(limits))
        return sorted(batches, key=lambda batch: min(self.polled_at.get(key, NEVER) for key in batch.keys))


def move_scattered(instance: dg.DagsterInstance, batches: Iterable[Batch]) -> None:
    """Make the keys of scattered batches neighbours. The batches are of one kind of partition."""
    scattered = [batch for batch in batches if batch.is_scattered]
    if scattered:
        partitions = STAGES[scattered[0].stage].partitions
        move_to_end(instance, partitions, [key for batch in scattered for key in batch.keys])


def plan_settings(settings: Settings) -> PlanSettings:
    """The limits that the settings name. Engines are not compared."""
    return PlanSettings(
        batch_sizes={stage.name: settings.batch_size(stage) for stage in GRAPH},
        devices=max(1, settings.n_devices),
        runs_ahead=settings.runs_ahead or 2 * max(1, settings.n_devices),
        ahead_episodes=settings.ahead_episodes,
        ahead_bytes=settings.ahead_gb * 1e9,
        rules=rule_versions(settings),
        shortage=settings.space.shortage(),
    )


def rule_versions(settings: Settings) -> dict[str, frozenset[str]]:
    """Stage with a configured rule → the engine versions of its landings.

    Whether DNSMOS is installed is part of a fingerprint, and may differ between this process and that of a run.
    """
    fingerprints = {
        "utterances": [rule_fingerprint(utterance_rule(settings), has_mos=has_mos) for has_mos in (False, True)],
        "quality": [load_tiers(settings.tiers).fingerprint],
    }
    return {
        name: frozenset(engine_version(one, STAGES[name].version) for one in found)
        for name, found in fingerprints.items()
    }


def engine_versions(engines: Engines, catalogue: Mapping[str, Episode]) -> dict[str, EngineVersions]:
    """Engine stage → the versions of its configured engines, for the languages of the catalogue."""
    languages = {episode.language for episode in catalogue.values() if episode.language}
    found = {}
    for name in EPISODE_GRAPH.engine_stages:
        by_language = {language: _version(engines, STAGES[name], language) for language in languages}
        found[name] = EngineVersions(_version(engines, STAGES[name], None), by_language)
    return found


def _version(engines: Engines, stage: Stage, language: str | None) -> str | None:
    """The version that a landing has if it is made now; None if no engine knows the language."""
    if stage.engine_slot == "diarizer":
        return engine_version(engines.diarizer_spec().fingerprint, stage.version)
    try:
        choice = engines.transcriber_for(language)
    except LanguageWithoutEngine:
        return None
    return engine_version(registry.describe_transcriber(choice).fingerprint, stage.version)
