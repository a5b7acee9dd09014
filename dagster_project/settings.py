"""Every setting, read once from the environment (`PODLAKE_…`) or a `.env` file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from resources.engines.devices import visible
from resources.engines.routing import parse_transcribers
from resources.engines.translators import parse_translator
from resources.engines.voices import parse_voices
from resources.fetch.addresses import AllowedHosts
from resources.fetch.disk_space import DiskSpace
from resources.gpu_server.servers import parse_servers
from resources.lake.graph import StageSpec
from resources.tiers import load_tiers
from speech.separation import Separation
from speech.talking_head.device import HeadDevice, parse_devices

ROOT = Path(__file__).resolve().parent.parent
"""The checkout, or the folder of packages in which podlake is installed."""
WORKER_BATCHES = 4
"""A run that waits for workers is an idle process. Four keep about a hundred jobs queued; batch sizes do the rest."""
NEMO_PYTHON = ROOT / ".venv-nemo" / "bin" / "python"
"""Made by `make nemo`: NeMo and Dagster need different versions of antlr4-python3-runtime."""


class Settings(BaseSettings):
    """The configuration of podlake. Raises `pydantic.ValidationError` naming the setting that is wrong."""

    model_config = SettingsConfigDict(
        env_prefix="PODLAKE_", env_file=".env", extra="ignore", frozen=True,
        env_nested_delimiter="_", env_nested_max_split=1,  # PODLAKE_BATCH_AUDIO is `batch["audio"]`
    )  # fmt: skip

    home: str = Field(
        default_factory=lambda: str(_default_folder() / "data"),
        description="Folder of all data: a path, or s3://bucket/prefix. Default: `data` in the checkout, or in the current folder of an installed podlake. Its folder `profiles` may have quality profiles of your own (docs/exports.md).",
    )
    cache: str | None = Field(
        None,
        description="Local folder for waveforms and parts of downloads. Default: the home, or ~/.cache/podlake for s3://.",
    )
    cache_gb: float = Field(20.0, gt=0, description="Size limit of the waveform cache, in GB.")
    database_url: str = Field(
        "",
        description="SQLAlchemy URL of the database of jobs, keys and requests. Empty: the PostgreSQL of the Dagster instance, or else `service.db` in the cache folder.",
    )
    diarizer: str = Field(
        "campplus", description="Diarizer: `campplus`, or `nemo[:model]` with a hub name or a local .nemo file."
    )
    diarizer_preset: str = Field(
        "high_latency",
        description="Sortformer preset: very_high_latency, high_latency, low_latency or ultra_low_latency.",
    )
    diarizer_saturated: Literal["keep", "campplus"] = Field(
        "keep",
        description="Where Sortformer finds four speakers, its limit: `keep` its result, or let `campplus` repeat the episode.",
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
        description="Python that the NeMo engines run under. Default: that of `make nemo`, if it was made; empty: podlake's own.",
    )
    firered_python: str | None = Field(None, description="The same for FireRedASR. Default: as for NeMo.")
    gpus: str = Field("all", description="Devices to lease: `all`, `none`, or numbers such as `0,1,3`.")
    engine_host: Literal["local", "ray", "workers"] = Field(
        "local",
        description="Where engines run: `local`, in host processes of this machine, `ray`, in actors of a Ray cluster, or `workers`, on machines that run `podlake worker`.",
    )
    engine_idle_s: float = Field(
        600.0, ge=0, description="Seconds without work after which a host process exits and frees its memory."
    )
    ray_address: str = Field(
        "auto", description="The Ray cluster: `auto` (this machine is a node of it), or host:port."
    )
    ray_gpus_per_engine: float = Field(
        1.0, ge=0, description="GPUs for each actor: 1, a fraction to put several on a GPU, or 0 for none."
    )
    batch_sizes: dict[str, Annotated[int, Field(ge=1)]] = Field(
        default_factory=dict,
        description='Episodes (or feeds) in one run of a stage: `{"audio": 32}`. Default: what the stage declares.',
    )
    batch: dict[str, Annotated[int, Field(ge=1)]] = Field(
        default_factory=dict, description="The same for one stage, such as `PODLAKE_BATCH_AUDIO=32`."
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
    runs_ahead: int | None = Field(
        None, ge=1, description="Runs of a stage that automation keeps queued or running. Default: two for each GPU."
    )
    keep_audio_days: float | None = Field(
        None,
        ge=0,
        description="Days that the asset `audio_retention` keeps the audio of complete episodes. 0: not at all. Unset: no limit.",
    )
    keep_audio_gb: float | None = Field(
        None, ge=0, description="GB of audio that it keeps; the earliest fetched goes first. Unset: no limit."
    )
    audio_copy: Literal["none", "opus"] = Field(
        "none", description="What stays of audio that it removes: `none`, or `opus`, a mono copy of 11 MB an hour."
    )
    min_free_gb: float = Field(
        1.0, ge=0, description="Free GB on the disks of home and cache, below which admission and downloads pause."
    )
    allow_hosts: str = Field(
        "",
        description="Hosts that are fetched from although their addresses are not public: `feeds.local,10.0.0.7:8080,192.168.0.0/16`. Empty: none.",
    )
    contact: str = Field(
        "",
        description="An e-mail address or a page in the User-Agent, so that administrators of servers can reach you.",
    )
    connections_per_host: int = Field(4, ge=1, description="Connections to one host at a time, from one process.")
    request_spacing_s: float = Field(
        0.0, ge=0, description="Seconds from the start of a request to the start of the next one to the same host."
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
    itunes_url: str = Field("https://itunes.apple.com", description="Apple's directory, for `podlake search-feeds`.")
    podcastindex_url: str = Field(
        "https://api.podcastindex.org/api/1.0", description="PodcastIndex, for `podlake search-feeds`."
    )
    podcastindex_key: str = Field("", description="API key of PodcastIndex. Empty: only Apple's directory is searched.")
    podcastindex_secret: SecretStr = Field(SecretStr(""), description="The secret of this key.")
    utterance_min_s: float = Field(1.0, gt=0, description="Shortest utterance, in seconds.")
    utterance_max_s: float = Field(
        30.0, gt=0, validate_default=True, description="Longest utterance, in seconds; longer ones are cut at a pause."
    )
    utterance_pause_ms: int = Field(800, ge=40, description="A pause of this length ends an utterance.")
    embeddings: str = Field(
        "",
        description="Model for `podlake search --meaning`: a folder with model.onnx and tokenizer.json, or an OpenAI-compatible API with a model, `http://127.0.0.1:11434/v1#all-minilm`. Empty: none.",
    )
    embeddings_key: SecretStr = Field(SecretStr(""), description="API key of this endpoint.")
    tiers: str = Field(
        "", description="YAML file with the rules of the tiers of episodes. Empty: profiles/tiers/default.yaml."
    )
    voices: str = Field(
        "en.S1=piper,en.S2=espeak?variant=f2,S1=espeak,S2=espeak?variant=f2,S3=espeak?variant=m3,S4=espeak?variant=f4",
        description="Voice of each speaker of a script, `[language.]S1=name[:model][?options]`: piper, espeak, soulx, openai or chatterbox. docs/studio.md has examples.",
    )
    podcasts_url: str = Field(
        "http://127.0.0.1:8080/podcasts",
        description="Where listeners reach the folder `podcasts` of the home: the feed of generated podcasts names it.",
    )
    podcasts_title: str = Field("podlake studio", description="Title of this feed.")
    podcasts_at_once: int = Field(1, ge=1, description="Pending or processing podcasts of a user.")
    podcasts_per_day: int = Field(5, ge=1, description="Podcasts that a user may request in a day of UTC.")
    lesson_max_gb: float = Field(5.0, gt=0, description="Largest video, in GB, that `podlake lesson add` takes.")
    lesson_max_minutes: float = Field(240.0, gt=0, description="Longest lesson that is dubbed.")
    stems: str = Field(
        "auto",
        description="How voices and background of a lesson are told apart: `demucs[:model]`, `duck` (not at all: the sound is made soft under the dub), or `auto`, Demucs where it is installed.",
    )
    translator: str = Field(
        "apertium",
        description="Translator of lessons: `apertium`, or a chat model, `ollama:http://127.0.0.1:11434?model=qwen2.5:14b`. docs/dubbing.md has examples.",
    )
    terms: str = Field("", description="CSV or YAML file with terms and their translations. Empty: none.")
    dub_subtitles: Literal["muxed", "burnt", "none"] = Field(
        "muxed",
        description="Subtitles of dubbed videos: tracks (`muxed`), drawn into the picture, which is encoded for it (`burnt`), or `none`.",
    )
    publish_to: str = Field(
        "",
        description="Where approved dubs are published: a folder, `s3://bucket/prefix`, or `kinescope:<id of a folder>`. Empty: the folder `published` of the home.",
    )
    kinescope_token: SecretStr = Field(SecretStr(""), description="API token of Kinescope.")
    kinescope_url: str = Field("https://api.kinescope.io", description="The API of Kinescope.")
    kinescope_uploader_url: str = Field("https://uploader.kinescope.io", description="Its server for uploads.")
    head_devices: tuple[HeadDevice, ...] = Field(
        (),
        description='Devices for talking heads, a pair of servers on each: `[{"name": "gpu0", "speech_url": "http://127.0.0.1:18180", "video_url": "http://127.0.0.1:8383", "speech_folder": "/srv/voice0", "video_folder": "/srv/face0", "gpu": 0}]`. Empty: requests become audiograms.',
    )
    head_poll_s: float = Field(5.0, gt=0, description="Seconds between two questions how far a video is.")
    head_limit_minutes: float = Field(30.0, gt=0, description="Minutes that a device may take for a video.")
    videos_at_once: int = Field(2, ge=1, description="Pending or processing videos of a user.")
    videos_per_day: int = Field(20, ge=1, description="Videos that a user may request in a day of UTC.")
    videos_keep_days: float = Field(
        7.0, ge=0, description="Days that uploads, temporary files and files on devices of videos are kept."
    )
    alert_email: str = Field(
        "", description="Addresses that alerts are sent to: `ops@example.org,…`. Needs PODLAKE_SMTP_URL."
    )
    alert_webhook: SecretStr = Field(
        SecretStr(""), description='URL that alerts are posted to as Slack takes them: `{"text": …}`.'
    )
    alert_command: str = Field("", description="Command that is run for each alert, with JSON at its standard input.")
    alert_feed_hours: float = Field(48.0, gt=0, description="Hours of failing polls after which a feed is an alert.")
    alert_idle_hours: float = Field(
        6.0, gt=0, description="Hours without a landing, while episodes wait, after which that is an alert."
    )
    smtp_url: SecretStr = Field(
        SecretStr(""), description="Mail server: `smtp://user:password@host:587`, or `smtps://…`."
    )
    smtp_from: str = Field("podlake@localhost", description="Sender of e-mails.")
    gpu_servers: str = Field(
        "",
        description="GPU servers of OpenStack that run while there is work: name and health of the service, `gpu-1=http://10.0.0.5:8001/health`. Credentials: OS_AUTH_URL and the others of its clients. Empty: none.",
    )
    gpu_server_idle_min: float = Field(
        15.0, gt=0, description="Minutes without work after which a GPU server is shelved."
    )
    site_url: str = Field(
        "http://127.0.0.1:3001",
        description="Where the corpus site is, for links in Dagster's UI. `podlake ui` serves it at the port after its own.",
    )
    log_format: Literal["text", "json"] = Field(
        "text",
        description="Log lines of `podlake run`, workers, the service and Dagster's processes: `text`, or `json` with run, stage and episode as fields.",
    )
    traces_url: str = Field(
        "",
        description="Collector that traces of batches are sent to by OTLP over HTTP: `http://127.0.0.1:4318`. Needs the extra `otel`. Empty: none.",
    )
    owner: str = Field("team:podlake", description="Owner of the assets in the UI: an e-mail address or team:<name>.")

    def batch_size(self, stage: StageSpec) -> int:
        """Partitions in one run of the stage."""
        return {**self.batch_sizes, **self.batch}.get(stage.name, stage.batch_size)

    @field_validator("batch", mode="before")
    @classmethod
    def _batch_by_stage(cls, value: dict[str, str]) -> dict[str, str]:
        """Without PODLAKE_BATCH_SIZES, which is a setting of its own, and with the new name of the stage `feeds`."""
        return {{"feeds": "episodes"}.get(name, name): size for name, size in value.items() if name != "sizes" and size}

    @field_validator("utterance_max_s")
    @classmethod
    def _utterances_have_a_length(cls, value: float, others: ValidationInfo) -> float:
        if value <= others.data.get("utterance_min_s", 0.0):
            raise ValueError("it must be more than PODLAKE_UTTERANCE_MIN_S")
        return value

    @field_validator("tiers")
    @classmethod
    def _tiers_are_readable(cls, value: str) -> str:
        if value:
            load_tiers(value)
        return value

    @field_validator("gpus")
    @classmethod
    def _gpus_are_readable(cls, value: str) -> str:
        visible(value)
        return value

    @field_validator("gpu_servers")
    @classmethod
    def _gpu_servers_are_readable(cls, value: str) -> str:
        parse_servers(value)
        return value

    @field_validator("allow_hosts")
    @classmethod
    def _hosts_are_readable(cls, value: str) -> str:
        AllowedHosts.parse(value)
        return value

    @field_validator("contact")
    @classmethod
    def _contact_fits_a_header(cls, value: str) -> str:
        if not (value.isascii() and value.isprintable()):
            raise ValueError("only printable ASCII fits into the User-Agent")
        return value

    @field_validator("translator")
    @classmethod
    def _translator_is_readable(cls, value: str) -> str:
        parse_translator(value)
        return value

    @field_validator("stems")
    @classmethod
    def _stems_are_readable(cls, value: str) -> str:
        Separation.parse(value)
        return value

    @field_validator("head_devices")
    @classmethod
    def _devices_differ(cls, value: tuple[HeadDevice, ...]) -> tuple[HeadDevice, ...]:
        return parse_devices(value)

    @field_validator("voices")
    @classmethod
    def _voices_are_readable(cls, value: str) -> str:
        parse_voices(value)
        return value

    @field_validator("transcriber")
    @classmethod
    def _transcribers_are_readable(cls, value: str) -> str:
        parse_transcribers(value)
        return value

    @property
    def n_devices(self) -> int:
        """Devices of this machine that runs lease; 0 if engines run on its CPU, or on a cluster.

        With workers, the batches whose jobs wait for them at once.
        """
        if self.engine_host == "workers":
            return WORKER_BATCHES
        return len(visible(self.gpus)) if self.engine_host == "local" else 0

    @property
    def space(self) -> DiskSpace:
        """The disks of home and cache, and what has to stay free on them."""
        local = () if "://" in self.home else (Path(self.home).expanduser().absolute(),)
        return DiskSpace(tuple(dict.fromkeys((*local, self.cache_folder))), self.min_free_gb * 1e9)

    @property
    def pythons(self) -> dict[str, str]:
        """Engine → the Python that its host process runs under, if it is another one."""
        nemo = {"nemo": str(Path(self.nemo_python).expanduser())} if self.nemo_python else {}
        firered = self.firered_python or nemo.get("nemo")
        return {**nemo, **({"firered": firered} if firered else {})}

    @property
    def cache_folder(self) -> Path:
        """A local folder, whatever the home is."""
        if self.cache:
            return Path(self.cache).expanduser().absolute()
        return Path.home() / ".cache" / "podlake" if "://" in self.home else Path(self.home).expanduser().absolute()


def _default_folder() -> Path:
    """A checkout keeps its own data, whatever the current folder is."""
    return ROOT if (ROOT / "pyproject.toml").exists() else Path.cwd()
