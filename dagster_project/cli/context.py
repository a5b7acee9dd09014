"""What commands share: the settings, the lake, and options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from dagster_project.settings import Settings
    from resources.fetch.audio_store import AudioStore
    from resources.lake.lake import Lake
    from resources.search import SearchIndex
    from resources.search_meaning import MeaningIndex

ui_url_option = click.option(
    "--ui-url",
    envvar="PODLAKE_UI_URL",
    default="http://127.0.0.1:3000",
    show_default=True,
    help="Where Dagster's web UI is, for links.",
)


def examples(*lines: str) -> str:
    r"""The end of a help text; `\b` tells click to keep the line breaks."""
    return "\n".join(["\b", *lines])


def read_settings() -> Settings:
    from pydantic import ValidationError

    from dagster_project.settings import Settings

    try:
        return Settings()
    except ValidationError as error:
        wrong = [f"{_variable(one['loc'])}: {_reason(one)}" for one in error.errors()]
        raise click.ClickException("\n".join([*wrong, "Correct it in the environment or in .env."])) from error


def lake_of(settings: Settings) -> Lake:
    from resources.lake.home import Home
    from resources.lake.lake import Lake

    return Lake(Home.at(settings.home))


def require_feeds(settings: Settings, feeds: Sequence[str], *, with_removed: bool = False) -> None:
    """Refuse names of no feed. `with_removed`: the command reads rows, which a removed feed still has."""
    from resources.lake.catalogue import SINGLES, Catalogue

    catalogue = Catalogue(lake_of(settings))
    subscriptions = catalogue.all_subscriptions() if with_removed else catalogue.subscriptions()
    known = {one.feed_id for one in subscriptions} | {one.feed_id for one in catalogue.imported()}
    for feed in set(feeds) - known - {SINGLES}:
        raise click.BadParameter(f"There is no feed {feed}. `podlake list` shows the feeds.")


def audio_store() -> AudioStore:
    from resources.fetch.audio_store import AudioStore
    from resources.lake.home import Home

    settings = read_settings()
    return AudioStore(Home.at(settings.home), settings.cache_folder, int(settings.cache_gb * 1e9))


def search_index() -> SearchIndex:
    from resources.search import SearchIndex

    return SearchIndex(read_settings().cache_folder / "search")


def meaning_index() -> MeaningIndex:
    """Raises click.ClickException if no model is configured."""
    from resources.embeddings import EmbeddingsUnavailable, load_embedder
    from resources.search_meaning import MeaningIndex

    settings = read_settings()
    try:
        embedder = load_embedder(settings.embeddings, settings.embeddings_key.get_secret_value())
    except EmbeddingsUnavailable as error:
        raise click.ClickException(str(error)) from error
    return MeaningIndex(settings.cache_folder / "search", embedder)


def log_to_screen() -> None:
    """The pipeline's messages, a line per episode."""
    import logging

    from resources.logs import hide_credentials, log_json

    hide_credentials()
    if read_settings().log_format == "json":
        log_json()
        return
    logging.basicConfig(format="%(asctime)s  %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("podlake").setLevel(logging.INFO)


def _variable(location: Sequence[int | str]) -> str:
    """The environment variable of a setting; one with a name of its own is in capitals."""
    name = "_".join(map(str, location))
    return name if name.isupper() else f"PODLAKE_{name.upper()}"


def _reason(error: Any) -> str:
    """Why pydantic refuses a value: the message of our validator, if it has one."""
    return str(error.get("ctx", {}).get("error", error["msg"]))


class TextFile(click.ParamType):
    """A text file in UTF-8, which is given as its text; - is standard input."""

    name = "filename"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            with click.open_file(value, "rb") as file:
                content: bytes = file.read()
        except OSError as error:
            self.fail(f"{value!r}: {error.strerror}", param, ctx)
        try:
            return content.decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError:
            self.fail(f"{value!r} is no text in UTF-8. Save it as plain text in UTF-8.", param, ctx)
