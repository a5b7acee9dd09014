"""`podlake forget` leaves no byte of an episode in the home: the whole folder is searched, and every table decoded."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import boto3
import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from pyarrow import fs

from assets.stages import STAGES
from dagster_project.build_resources import build_resources
from dagster_project.cli import main
from dagster_project.instance import DEFAULTS, database_url, open_instance
from dagster_project.lessons import LESSON_TAG
from dagster_project.settings import Settings
from demo.serve import serving
from partitions.definitions import EPISODES, FEEDS
from pipeline.asset_definition import as_asset
from resources.alerts.ledger import Alert, AlertLedger
from resources.lake.catalogue import Catalogue
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import ACQUISITIONS, TABLES
from resources.lake.tables import EPISODES as EPISODE_ROWS
from resources.lake.warehouse import connect
from resources.search import SearchIndex
from resources.studio.lessons import NewLesson
from resources.workers.jobs import JobQueue, Work, Worker
from speech.engines.protocols import EngineChoice
from speech.engines.translation_cache import TranslationCache
from tests.landings import land_stage, seal_settled
from tests.lessons import publish
from tests.object_store import s3_server
from tests.postgres import postgres_storage

SPEECH = Path(__file__).parents[1] / "nemo" / "pod_solo.flac"
ITEM = """<item><title>The {name} “title” of it</title><guid>guid-of-the-{name}-item</guid>
<pubDate>Thu, 0{n} Jan 2026 08:00:00 GMT</pubDate>
<enclosure url="{url}/{name}.flac" length="1" type="audio/flac"/></item>"""
SECRET = [b"secret", "The secret “title”".encode()]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("site")
    (folder / "public.flac").write_bytes(SPEECH.read_bytes())
    (folder / "secret.flac").write_bytes(SPEECH.read_bytes() + b"\0" * 64)
    with serving(folder) as url:
        items = ITEM.format(name="public", n=1, url=url) + ITEM.format(name="secret", n=2, url=url)
        (folder / "feed.xml").write_text(
            f'<?xml version="1.0" encoding="utf-8"?><rss version="2.0"><channel><title>Show</title>{items}</channel></rss>'
        )
        yield url


@pytest.fixture(scope="module")
def template(site: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of two episodes with rows of every kind, sealed and open."""
    folder = tmp_path_factory.mktemp("template")
    with pytest.MonkeyPatch.context() as patch:
        fill(_enter(folder, patch), site)
    return folder / "home"


@pytest.fixture
def home(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    shutil.copytree(template, tmp_path / "home")
    return _enter(tmp_path, monkeypatch)


@pytest.fixture
def secret(home: Home) -> str:
    """The key of the episode to forget."""
    return keys(home)[1]


def _enter(folder: Path, patch: pytest.MonkeyPatch) -> Home:
    patch.chdir(folder)
    patch.setenv("DAGSTER_HOME", str(folder / "home" / "dagster"))
    patch.setenv("PODLAKE_HOME", str(folder / "home"))
    patch.setenv("PODLAKE_ALLOW_HOSTS", "127.0.0.1")
    return Home.at(str(folder / "home"))


def podlake(*arguments: str, answer: str | None = None) -> str:
    result = CliRunner().invoke(main, arguments, input=answer, catch_exceptions=False)
    return result.output


def poll(instance: dg.DagsterInstance) -> None:
    run(instance, "episodes", feed(Home.at(Settings().home)))


def feed(home: Home) -> str:
    """`show`; with a suffix in an object store, where two names cannot be compared in one step."""
    return Catalogue(Lake(home)).subscriptions()[0].feed_id


def run(instance: dg.DagsterInstance, stage: str, key: str) -> None:
    asset = as_asset(STAGES[stage], batch_size=10, code_version="1")
    dg.materialize([asset], partition_key=key, instance=instance, resources=build_resources(Settings()))


def keys(home: Home) -> list[str]:
    return [row.episode_id for row in Lake(home).rows(EPISODE_ROWS, feed(home))]


def fill(home: Home, site: str) -> None:
    assert "Show" in podlake("add", f"{site}/feed.xml", "--title", "Show")
    lake = Lake(home)
    with open_instance(Settings()) as instance:
        poll(instance)
        public, secret = keys(home)
        for key in (public, secret):
            run(instance, "audio", key)
            run(instance, "hashes", key)
        _land_speech(lake, secret, "sealed secret words")
        _land_speech(lake, public, "public words")
        seal_settled(lake)
        poll(instance)
        _land_speech(lake, secret, "open secret words")
        instance.report_engine_event(
            f"{site}/secret.flac is slow", run_id=instance.get_runs()[0].run_id, job_name="job"
        )
    with connect(home) as connection:
        SearchIndex(Settings().cache_folder / "search").update(connection)
    job = Work("transcriber", EngineChoice("whisper"), "f" * 16, secret, "ab" * 32)
    queue = JobQueue.at(database_url(Settings()))
    queue.submit("run", [job])
    lease = queue.claim(Worker("gpu", "host", "1", ("cpu",)))
    assert lease is not None
    queue.finish(lease.job_id, lease.lease_id, b"secret words")
    AlertLedger.at(database_url(Settings())).update([Alert("lost_run", "r1", f"{secret} hangs")])
    for key, text in ((secret, b"secret words"), (public, b"public words")):
        with home.writing("exports", "captions", f"{key}.srt") as stream:
            stream.write(text)
    with home.writing("exports", "captions", "train-0.parquet") as stream:
        pq.write_table(pa.table({"key": [secret], "text": ["secret words"]}), stream)


def _land_speech(lake: Lake, key: str, text: str) -> None:
    words = [{"word": word, "word_idx": n} for n, word in enumerate(text.split())]
    land_stage(lake, "diarization", key, {})
    land_stage(lake, "transcript", key, {"words": words})
    land_stage(lake, "turns", key, {"turns": [{"text": text}]})
    land_stage(lake, "quality", key, {"quality": [{}]})


def traces(home: Home, needles: list[bytes]) -> list[str]:
    """The files of the home that contain one of the texts, Parquet decoded."""
    found = []
    for path in sorted(Path(home.root).rglob("*")):
        if path.is_file():
            content = path.name.encode() + path.read_bytes()
            if path.suffix == ".parquet":
                content += str(pq.ParquetFile(path).read().to_pylist()).encode()
            if any(needle in content for needle in [*needles, *(_as_json(needle) for needle in needles)]):
                found.append(str(path.relative_to(home.root)))
    return found


def objects(home: Home, needles: list[bytes]) -> list[str]:
    """The same of an object store."""
    found = []
    for info in home.filesystem.get_file_info(fs.FileSelector(home.path(), recursive=True)):
        if info.type == fs.FileType.File:
            with home.filesystem.open_input_file(info.path) as stream:
                content = stream.read()
            if info.path.endswith(".parquet"):
                content += str(pq.read_table(BytesIO(content)).to_pylist()).encode()
            if any(needle in info.path.encode() + content for needle in needles):
                found.append(info.path)
    return found


def rows_with(url: str, needles: list[bytes]) -> list[str]:
    """The tables of a database with a row that contains one of the texts."""
    engine, schema, found = sa.create_engine(url), sa.MetaData(), []
    with engine.connect() as connection:
        schema.reflect(connection)
        for table in schema.sorted_tables:
            content = str([tuple(map(_text, row)) for row in connection.execute(sa.select(table))]).encode()
            if any(needle in content for needle in [*needles, *(_as_json(needle) for needle in needles)]):
                found.append(table.name)
    engine.dispose()
    return found


def _text(value: object) -> object:
    return bytes(value) if isinstance(value, memoryview) else value


def _as_json(text: bytes) -> bytes:
    return json.dumps(text.decode())[1:-1].encode()


def test_no_byte_of_an_episode_is_left(secret: str, home: Home) -> None:
    (acquired,) = Lake(home).rows(ACQUISITIONS, secret)
    needles = [*SECRET, secret.encode(), acquired.audio_sha256.encode()]
    assert len(traces(home, needles)) > 20
    assert (Path(home.root) / "search").exists()
    assert "1 episodes" in podlake("forget", secret, "--yes")
    assert traces(home, needles) == []
    assert not (Path(home.root) / "search").exists()
    (public,) = keys(home)
    assert [row.bytes for row in Lake(home).rows(ACQUISITIONS, public)] == [SPEECH.stat().st_size]
    assert (Path(home.root) / "exports" / "captions" / f"{public}.srt").exists()
    with open_instance(Settings()) as instance:
        assert instance.get_dynamic_partitions("episodes") == [public]
        for asset in ("audio", "hashes"):
            assert instance.get_materialized_partitions(dg.AssetKey(asset)) == {public}
        assert instance.get_materialized_partitions(dg.AssetKey("episodes")) == {"show"}
        poll(instance)
    assert keys(home) == [public]
    (tombstone,) = home.names("forgotten")
    entry = json.loads(home.read("forgotten", tombstone))
    assert entry.keys() == {"forgotten_at", "by", "files", "bytes", "rows"}
    assert entry["files"] == 1
    assert traces(home, needles) == []


def test_no_byte_is_left_on_s3_and_postgresql(
    site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres: int
) -> None:
    storage = postgres_storage(postgres, f"forget_{time.monotonic_ns()}")
    url = storage["storage"]["postgres"]["postgres_url"]
    (tmp_path / "dagster").mkdir()
    (tmp_path / "dagster" / "dagster.yaml").write_text(f"{DEFAULTS.read_text()}\n{json.dumps(storage)[1:-1]}\n")
    with s3_server() as environment:
        _enter(tmp_path, monkeypatch)
        places = {"HOME": str(tmp_path), "DAGSTER_HOME": str(tmp_path / "dagster"), "PODLAKE_HOME": "s3://forget/home"}
        for name, value in {**environment, **places, "PODLAKE_CACHE": str(tmp_path / "cache")}.items():
            monkeypatch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="forget")
        home, local = Home.at("s3://forget/home"), Home.at(str(tmp_path))
        fill(home, site)
        public, secret = keys(home)
        (acquired,) = Lake(home).rows(ACQUISITIONS, secret)
        needles = [*SECRET, secret.encode(), acquired.audio_sha256.encode()]
        assert len(objects(home, needles)) > 15
        assert {"event_logs", "worker_jobs", "podlake_alerts"} <= set(rows_with(url, needles))
        assert any(path.startswith("cache/search/") for path in traces(local, needles))
        show = feed(home)
        podlake("forget", secret, "--yes")
        assert (objects(home, needles), rows_with(url, needles), traces(local, needles)) == ([], [], [])
        assert keys(home) == [public]
        podlake("forget", show, "--yes")
        needles += [public.encode(), b"guid-of-the-public"]
        assert (objects(home, needles), rows_with(url, needles), traces(local, needles)) == ([], [], [])
        assert Lake(home).rows(EPISODE_ROWS, show) == []


def test_it_asks_and_can_only_tell(secret: str, home: Home) -> None:
    before = traces(home, SECRET)
    assert "1 audio files of 0." in podlake("forget", secret, "--dry-run")
    assert "cannot be undone" in podlake("forget", secret, answer="n\n")
    assert traces(home, SECRET) == before
    assert "There is no episode and no feed nothing" in podlake("forget", "nothing", "--yes")


def test_what_an_interrupted_removal_left_is_removed_by_the_next(secret: str, home: Home) -> None:
    podlake("forget", secret, "--yes")
    _land_speech(Lake(home), secret, "secret words of a killed process")
    assert "1 episodes" in podlake("forget", secret, "--yes")
    assert traces(home, [*SECRET, secret.encode()]) == []


def test_an_episode_that_was_removed_before_is_forgotten(secret: str, home: Home) -> None:
    podlake("remove", secret)
    assert f"removed/{secret}.json" in traces(home, [secret.encode()])
    podlake("forget", secret, "--yes")
    assert traces(home, [*SECRET, secret.encode()]) == []


def test_a_lesson_goes_with_the_episode_that_it_was_made_of(secret: str, home: Home) -> None:
    resources = build_resources(Settings())
    lake, files, ledger = resources["lake"], resources["lesson_files"], resources["lesson_ledger"]
    lessons = {}
    for key, word in zip(reversed(keys(home)), ("secret", "public"), strict=True):
        new = NewLesson(f"{word} lesson", "en", "es", "ana", "biology", episode_id=key)
        lessons[word] = lesson_id = ledger.new_key(new)
        ledger.add(lesson_id, new, None)
        publish(lake, ledger, lesson_id, {"lessons": [{"title": f"{word} lesson", "episode_id": key}]})
        files.write(lesson_id, "dubbed.es.mp4", f"{word} words".encode())
        TranslationCache(resources["translators"].cache).of(lesson_id).put("ab" * 32, f"{word} words translated")
    ledger.note_upload(lessons["secret"], "f" * 64, "kinescope-1", "https://uploads.test/1")

    planned = podlake("forget", secret, "--dry-run")
    assert f"lesson {lessons['secret']}: its request, rows and runs, and 1 files" in planned
    assert "Not removed, do it there: the video kinescope-1 on Kinescope" in planned
    assert lessons["public"] not in planned
    podlake("forget", secret, "--yes")
    assert traces(home, [*SECRET, secret.encode(), lessons["secret"].encode(), b"kinescope-1"]) == []
    assert [lesson.lesson_id for lesson in ledger.lessons()] == [lessons["public"]]
    assert len(files.stored(lessons["public"])) == 1

    assert f"lesson {lessons['public']}" in podlake("forget", "show", "--dry-run")
    with open_instance(Settings()) as instance:
        instance.add_run(dg.DagsterRun("job", status=dg.DagsterRunStatus.STARTED, tags={LESSON_TAG: lessons["public"]}))
        assert f"A run makes {lessons['public']}." in podlake("forget", "show", "--yes")
    assert len(keys(home)) == len(ledger.lessons()) == 1


def test_an_interrupted_removal_of_a_feed_is_completed_by_the_next(
    home: Home, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("resources.lake.forgetting.forget_unchanged", interrupt)
        assert "Aborted" in podlake("forget", "show", "--yes")
    assert Catalogue(Lake(home)).subscriptions() == []
    assert "1 feeds" in podlake("forget", "show", "--yes")
    assert traces(home, [b"secret", b"public", site.encode()]) == []
    assert [path for path in traces(home, [b"show"]) if not path.startswith("dagster/")] == []
    assert "There is no episode and no feed show" in podlake("forget", "show", "--yes")


def test_a_feed_goes_with_all_its_episodes_and_is_not_added_again(secret: str, home: Home, site: str) -> None:
    podlake("forget", "show", "--yes")
    assert traces(home, [b"secret", b"public", site.encode()]) == []
    assert Catalogue(Lake(home)).subscriptions() == []
    with open_instance(Settings()) as instance:
        for partitions in (FEEDS, EPISODES):
            assert instance.get_dynamic_partitions(partitions.name or "") == []
    assert "was forgotten" in podlake("add", f"{site}/feed.xml")
    assert all(not table.landing or not any(Lake(home).home.names("lake", table.name, "open")[1:])
               for table in TABLES.values())  # fmt: skip
