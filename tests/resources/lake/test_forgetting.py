"""A forgotten episode is in no file of the lake, on a local disk and in an object store; its feed keeps the others."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from resources.lake.forgetting import audio_of, forget_episodes, forget_feeds
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import ACQUISITIONS, EPISODES, TURNS
from resources.lake.tables.voices import SPEAKER_LINKS, VOICES
from resources.lake.warehouse import ask, connect
from tests.landings import land, land_last, seal_settled

ONE, TWO = "show-20260101-00000001", "show-20260102-00000002"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(Home.at(str(tmp_path / "home")))


def contents(home: Home) -> Iterator[bytes]:
    for info in home.filesystem.get_file_info(fs.FileSelector(home.path(), recursive=True)):
        if info.type == fs.FileType.File:
            with home.filesystem.open_input_file(info.path) as stream:
                content = stream.read()
            yield info.path.encode() + content
            if info.path.endswith(".parquet"):
                yield str(pq.read_table(BytesIO(content)).to_pylist()).encode()


def holds(home: Home, text: str) -> bool:
    return any(text.encode() in content for content in contents(home))


def _land(lake: Lake, word: str) -> None:
    land(lake, EPISODES, "show", [{"episode_id": key, "guid": f"guid {key} {word}"} for key in (ONE, TWO)])
    links = [{"episode_id": key, "voice_id": f"voice of {key}", "speaker": "S1"} for key in (ONE, TWO)]
    land(lake, VOICES, "show", [{"voice_id": f"voice of {key}"} for key in (ONE, TWO)])
    land(lake, SPEAKER_LINKS, "show", links)
    for key in (ONE, TWO):
        land(lake, ACQUISITIONS, key, [{"audio_sha256": word * 8, "storage_uri": f"audio/{key}"}])
        land(lake, TURNS, key, [{"text": f"{word} of {key}"}])
        land_last(lake, key)


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_it_is_in_no_file_open_or_sealed(kind: str, lake: Lake, request: pytest.FixtureRequest) -> None:
    lake = lake if kind == "local" else Lake(request.getfixturevalue("s3_home"))
    _land(lake, "sealed")
    seal_settled(lake)
    if lake.home.is_local:  # the server of the test is slow
        _land(lake, "older")
    _land(lake, "open")
    forget_episodes(lake, {ONE})
    assert not holds(lake.home, ONE)
    assert [row.guid for row in lake.rows(EPISODES, "show")] == [f"guid {TWO} open"]
    assert [row.voice_id for row in lake.rows(VOICES, "show")] == [f"voice of {TWO}"]
    with connect(lake.home) as connection:
        assert ask(connection, "select episode_id, text from turns") == [(TWO, f"open of {TWO}")]
    forget_episodes(lake, {TWO})
    forget_feeds(lake, ["show"])
    assert not holds(lake.home, "show")


def test_bytes_that_another_episode_has_too_stay(lake: Lake) -> None:
    for sha256, keys in (("a" * 64, [ONE]), ("b" * 64, [ONE, TWO])):
        with lake.home.writing("audio", sha256[:2], f"{sha256}.mp3") as stream:
            stream.write(b"sound")
        for key in keys:
            land(lake, ACQUISITIONS, key, [{"audio_sha256": sha256}])
    found = audio_of(lake, {ONE})
    assert found.sha256 == {"a" * 64}  # an older acquisition
    assert (len(found.files), found.bytes) == (1, 5)
    assert audio_of(lake, {ONE, TWO}).sha256 == {"a" * 64, "b" * 64}
