"""Every setting, read once from the environment (`PODLAKE_…`) or a `.env` file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from resources.engines.devices import visible
from resources.engines.routing import parse_transcribers
from resources.lake.graph import StageSpec

ROOT = Path(__file__).resolve().parent.parent
"""The checkout, or the folder of packages in which podlake is installed."""
NEMO_PYTHON = ROOT / ".venv-nemo" / "bin" / "python"
"""Made by `make nemo`: NeMo and Dagster need different versions of antlr4-python3-runtime."""


class Settings(BaseSettings):
    """The configuration of podlake. Raises `pydantic.ValidationError` naming the setting that is wrong."""

    model_config = SettingsConfigDict(env_prefix="PODLAKE_", env_file=".env", extra="ignore", frozen=True)

    home: str = Field(
        default_factory=lambda: str(_default_folder() / "data"),
        description="Folder of all data: a path, or s3://bucket/prefix. Default: `data` in the checkout, or in the current folder of an installed podlake.",
    )
    cache: str | None = Field(
        None,
        description="Local folder for waveforms and parts of downloads. Default: the home, or ~/.cache/podlake for s3://.",
    )
    cache_gb: float = Field(20.0, gt=0, description="Size limit of the waveform cache, in GB.")
    diarizer: str = Field(
        "campplus", description="Diarizer: `campplus`, or `nemo[:model]` with a hub name or a local .nemo file."
    )
    diarizer_preset: str = Field(
        "high_latency",
        description="Sortformer preset: very_high_latency, high_latency, low_latency or ultra_low_latency.",
    )
    transcriber: str = Field(
        "whisper",
        description="Transcriber, `name[:model]`, for every language or per language: `en=nemo,zh=firered:/models/FireRedASR-AED-L,*=whisper:large-v3-turbo`.",
    )
    transcriber_language: Literal["declared", "detected"] = Field(
        "declared",
        description="Language that a multilingual Whisper decodes: `declared` by the feed, or `detected` from the sound where the two clearly differ.",
    )
    nemo_python: str = Field(
        default_factory=lambda: str(NEMO_PYTHON) if NEMO_PYTHON.exists() else "",
        description="Python that the NeMo engines run under, in a process of their own. Default: that of `make nemo`, if it was made; empty: the run's own process.",
    )
    firered_python: str | None = Field(
        None, description="The same for FireRedASR. Default: as for NeMo, else a process of its own under this Python."
    )
    gpus: str = Field("all", description="Devices to lease: `all`, `none`, or numbers such as `0,1,3`.")
    engine_host: Literal["local", "ray"] = Field(
        "local",
        description="Where engines run: `local`, in the run's own process, or `ray`, in actors of a Ray cluster.",
    )
    ray_address: str = Field(
        "auto", description="The Ray cluster: `auto` (this machine is a node of it), or host:port."
    )
    ray_gpus_per_engine: float = Field(
        1.0, ge=0, description="GPUs for each actor: 1, a fraction to put several on a GPU, or 0 for none."
    )
    batch_sizes: dict[str, Annotated[int, Field(ge=1)]] = Field(
        default_factory=dict,
        description='Episodes (or feeds) in one run of a stage: `{"audio": 32}`, or `PODLAKE_BATCH_<STAGE>` for one stage. Default: what the stage declares.',
    )
    window: int = Field(10_000, ge=1, description="Episodes that Dagster knows at once; the catalogue knows all.")
    window_feeds: str = Field("", description="Admit only these feeds to the window: `my-show,another`. Empty: all.")
    window_languages: str = Field("", description="Admit only these languages: `en,de`. Empty: all.")
    window_max_age_days: float | None = Field(None, gt=0, description="Admit nothing that was published longer ago.")
    window_audio_hours: float | None = Field(None, gt=0, description="Hours of audio in the window at most.")
    ahead_episodes: int = Field(
        256, ge=1, description="Episodes that `podlake run` downloads at most before an engine has taken some."
    )
    ahead_gb: float = Field(20.0, gt=0, description="The same in GB of audio, as the feeds declare it.")
    runs_ahead: int = Field(
        2, ge=1, description="Runs of a stage that automation keeps queued or running: twice the number of GPUs."
    )
    nightly_audio_hours: float = Field(
        24.0,
        gt=0,
        description="Hours of audio that the nightly backfill requests at most, and that the sensor repeats in a day at most because an engine has changed.",
    )
    job_timeout_hours: float = Field(
        2.0,
        gt=0,
        validation_alias="JOB_TIMEOUT_HOURS",
        description="A run that takes longer is ended; what it has landed stays.",
    )
    owner: str = Field("team:podlake", description="Owner of the assets in the UI: an e-mail address or team:<name>.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is given
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        named = [_BatchSizes(settings_cls, source) for source in (env_settings, dotenv_settings)]
        return init_settings, *named, env_settings, dotenv_settings

    def batch_size(self, stage: StageSpec) -> int:
        """Partitions in one run of the stage."""
        return self.batch_sizes.get(stage.name, stage.batch_size)

    @field_validator("gpus")
    @classmethod
    def _gpus_are_readable(cls, value: str) -> str:
        visible(value)
        return value

    @field_validator("transcriber")
    @classmethod
    def _transcribers_are_readable(cls, value: str) -> str:
        parse_transcribers(value)
        return value

    @property
    def pythons(self) -> dict[str, str]:
        """Engine → the Python that it runs under in a process of its own; the others run in the run's process."""
        nemo = {"nemo": str(Path(self.nemo_python).expanduser())} if self.nemo_python else {}
        return {**nemo, "firered": self.firered_python or nemo.get("nemo") or sys.executable}

    @property
    def cache_folder(self) -> Path:
        """A local folder, whatever the home is."""
        if self.cache:
            return Path(self.cache).expanduser().absolute()
        return Path.home() / ".cache" / "podlake" if "://" in self.home else Path(self.home).expanduser().absolute()


def _default_folder() -> Path:
    """A checkout keeps its own data, whatever the current folder is."""
    return ROOT if (ROOT / "pyproject.toml").exists() else Path.cwd()


class _BatchSizes(PydanticBaseSettingsSource):
    """`PODLAKE_BATCH_<STAGE>` of another source, for stages whose names the settings need not know."""

    _PREFIX = "podlake_batch_"
    _OLD_NAMES: ClassVar = {"feeds": "episodes"}

    def __init__(self, settings_cls: type[BaseSettings], source: PydanticBaseSettingsSource) -> None:
        super().__init__(settings_cls)
        self._variables = source.env_vars if isinstance(source, EnvSettingsSource) else {}

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 - abstract
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {
            name.lower().removeprefix(self._PREFIX): value
            for name, value in self._variables.items()
            if name.lower().startswith(self._PREFIX) and name.lower() != f"{self._PREFIX}sizes" and value
        }
        return {"batch_sizes": {self._OLD_NAMES.get(name, name): value for name, value in found.items()}}
