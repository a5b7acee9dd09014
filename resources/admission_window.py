"""The resource `window`: which episodes are admitted to the live window. Users can change it in run config."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import dagster as dg
from pydantic import Field

from partitions.languages import normalise_language
from partitions.window import Window
from resources.fetch.disk_space import DiskSpace


class AdmissionWindow(dg.ConfigurableResource[Window]):
    """Rules for admitting episodes to the live window.

    No field has a default: Dagster would use it, instead of the setting, for a field that a run's config leaves out.
    """

    size: int = Field(ge=1, description="Episodes in the live window at most.")
    feeds: list[str] = Field(description="Admit only these feeds. Empty: all.")
    languages: list[str] = Field(description="Admit only these languages. Empty: all.")
    max_age_days: float = Field(ge=0, description="Admit only episodes published in so many days. 0: all.")
    audio_hours: float = Field(ge=0, description="Hours of audio in the live window at most. 0: no limit.")
    folders: list[str] = Field(description="Admit nothing while the disk of one of these folders is short of space.")
    min_free_gb: float = Field(ge=0, description="Free GB below which it is. 0: never.")

    def create_resource(self, context: dg.InitResourceContext) -> Window:  # noqa: ARG002 - Dagster's signature
        return self.rules()

    def rules(self) -> Window:
        languages = (normalise_language(language) for language in self.languages)
        return Window(
            size=self.size,
            feeds=frozenset(self.feeds),
            languages=frozenset(language for language in languages if language),
            max_age=timedelta(days=self.max_age_days) if self.max_age_days else None,
            audio_hours=self.audio_hours or None,
            shortage=DiskSpace(tuple(map(Path, self.folders)), self.min_free_gb * 1e9).shortage(),
        )
