"""Backups: restored into an empty home, all tables, events and partitions are the same, whatever goes on meanwhile."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import pytest
from click.testing import CliRunner, Result

from dagster_project.cli import main
from dagster_project.commands.backup import _Copying, back_up, restore
from dagster_project.in_process import materialize
from dagster_project.instance import DEFAULTS, database_url, open_instance
from dagster_project.settings import Settings
from partitions.definitions import EPISODES, add_keys
from resources.accounts import Accounts
from resources.backup.databases import has_runs
from resources.backup.home_files import list_home
from resources.backup.store import BackupError, BackupStore
from resources.lake.catalogue import Catalogue
from resources.lake.compaction import remove, seal
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import QUALITY, TABLES, WORDS
from resources.lake.warehouse import ask, connect
from tests.landings import land, land_last
from tests.postgres import postgres_storage

KEYS = [f"show-2026010{n}-0000000{n}" for n in range(1, 7)]
AUDIO = b"audio" * 1000


class Site:
    """Where a podlake keeps its data, as the environment says."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, home: str = "", storage: dict[str, Any] | None = None
    ):
        folder.mkdir()
        self._monkeypatch, self._folder = monkeypatch, folder
        self.home_uri = home or str(folder / "home")
        if storage:
            (folder / "dagster").mkdir()
            (folder / "dagster" / "dagster.yaml").write_text(f"{DEFAULTS.read_text()}\n{json.dumps(storage)[1:-1]}\n")

    def settings(self) -> Settings:
        self._monkeypatch.setenv("PODLAKE_HOME", self.home_uri)
        self._monkeypatch.setenv("PODLAKE_CACHE", str(self._folder / "cache"))
        self._monkeypatch.setenv("DAGSTER_HOME", str(self._folder / "dagster"))
        return Settings()

    @property
    def lake(self) -> Lake:
        return Lake(Home.at(self.home_uri))


@pytest.fixture(params=["sqlite", "postgres and s3"])
def sites(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Site, Site, str]:
    """A site with data, an empty one, and a place for backups."""
    if request.param == "sqlite":
        return Site(tmp_path / "one", monkeypatch), Site(tmp_path / "two", monkeypatch), str(tmp_path / "backups")
    port, bucket = request.getfixturevalue("postgres"), f"backups-{time.monotonic_ns()}"
    for name, value in {**request.getfixturevalue("s3_environment"), "HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket=bucket)
    made = [
        Site(
            tmp_path / name,
            monkeypatch,
            f"s3://{bucket}/{name}",
            postgres_storage(port, f"{name}_{time.monotonic_ns()}"),
        )
        for name in ("one", "two")
    ]
    return made[0], made[1], f"s3://{bucket}/place"


def fill(site: Site) -> None:
    """Sealed and open landings, a superseded one, a subscription with a password, audio, a run, and partitions."""
    lake = site.lake
    Catalogue(lake).subscribe([("https://me:secret@a.test/rss", "The Show")])
    with lake.home.writing("audio", "ab", f"{'ab' * 32}.mp3") as stream:
        stream.write(AUDIO)
    for key in KEYS[:4]:
        land(lake, WORDS, key, [{"word": "hear", "word_idx": n} for n in (0, 1)])
        land_last(lake, key)
    list(seal(lake, KEYS[:3]))
    land(lake, WORDS, KEYS[1], [{"word": "again", "word_idx": 0}])
    with open_instance(site.settings()) as instance:
        add_keys(instance, EPISODES, KEYS)
        materialize(instance, "feeds")


def contents(site: Site) -> dict[str, Any]:
    """All that a user can ask of a site."""
    with connect(site.lake.home) as lake:
        tables = {name: ask(lake, f"from lake.{name} order by all") for name in TABLES}
    with open_instance(site.settings()) as instance:
        feeds = instance.fetch_materializations(dg.AssetKey("feeds"), limit=10).records
        return {
            "tables": tables,
            "partitions": instance.get_dynamic_partitions("episodes"),
            "runs": [(run.run_id, run.status) for run in instance.get_runs()],
            "events": [(record.run_id, record.asset_materialization.metadata.keys()) for record in feeds],
            "logs": {run.run_id: len(instance.all_logs(run.run_id)) for run in instance.get_runs()},
            "assets": sorted(instance.all_asset_keys()),
        }


def test_a_restored_home_has_the_same_tables_assets_and_partitions(sites: tuple[Site, Site, str]) -> None:
    one, two, place = sites
    fill(one)
    before = contents(one)
    assert before["runs"]
    assert len(before["tables"]["words"]) == 7
    snapshot, files, _ = back_up(one.settings(), place)
    assert files == len({entry.sha256 for entry in snapshot.entries})

    restore(two.settings(), place)
    assert contents(two) == before
    assert two.lake.home.read("audio", "ab", f"{'ab' * 32}.mp3") == AUDIO
    (feed,) = Catalogue(two.lake).subscriptions()
    assert Catalogue(two.lake).address(feed) == "https://me:secret@a.test/rss"
    with open_instance(two.settings()) as instance:  # and work goes on there
        materialize(instance, "feeds")
        assert len(instance.get_runs()) == len(before["runs"]) + 1
    with pytest.raises(BackupError, match="has runs"):
        restore(two.settings(), place)


def test_a_second_backup_copies_only_what_is_new(sites: tuple[Site, Site, str]) -> None:
    one, _, place = sites
    fill(one)
    first, _, _ = back_up(one.settings(), place)
    land(one.lake, WORDS, KEYS[5], [{"word": "new"}])
    second, files, _ = back_up(one.settings(), place)
    new = {entry.path for entry in second.entries} - {entry.path for entry in first.entries}
    assert len([path for path in new if "/words/open/" in path]) == 1
    databases = {entry.path for entry in second.entries if not entry.path.startswith("home/")}
    assert files <= len(new) + len(databases)
    assert files < len(second.entries) / 2
    store = BackupStore(Home.at(place))
    assert list(store.damage(second)) == []
    assert store.names() == [first.name, second.name]


@pytest.fixture
def one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    site = Site(tmp_path / "one", monkeypatch)
    fill(site)
    return site


def test_old_snapshots_are_removed_with_what_only_they_need(one: Site, tmp_path: Path) -> None:
    store = BackupStore(Home.at(str(tmp_path / "backups")))
    first, _, _ = back_up(one.settings(), store.place.uri)
    remove(one.lake, KEYS[:1])
    second, _, _ = back_up(one.settings(), store.place.uri)
    snapshots, files = store.keep(1)
    assert (snapshots, store.names()) == (1, [second.name])
    assert files > 0
    assert store.blobs() == {entry.sha256 for entry in second.entries}
    assert list(store.damage(second)) == []
    with pytest.raises(BackupError, match=f"no snapshot {first.name}"):
        store.snapshot(first.name)


def test_damaged_and_missing_bytes_are_found_and_not_restored(
    one: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = BackupStore(Home.at(str(tmp_path / "backups")))
    snapshot, _, _ = back_up(one.settings(), store.place.uri)
    words = [entry for entry in snapshot.entries if "/words/sealed/" in entry.path and "_schema" not in entry.path]
    audio = next(entry for entry in snapshot.entries if entry.path.startswith("home/audio/"))
    blob = Path(store.place.path("blobs", words[0].sha256[:2], words[0].sha256))
    blob.write_bytes(blob.read_bytes()[:-1] + b"?")
    Path(store.place.path("blobs", audio.sha256[:2], audio.sha256)).unlink()
    done = podlake(one, "backup", store.place.uri, "--verify")
    assert done.exit_code == 1
    assert "2 damaged or missing" in done.stdout
    assert words[0].path in done.stdout
    with pytest.raises(BackupError, match=r"damaged|missing"):
        restore(Site(tmp_path / "two", monkeypatch).settings(), store.place.uri)


def test_an_interrupted_restoration_is_completed(one: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = BackupStore(Home.at(str(tmp_path / "backups")))
    before = contents(one)
    snapshot, _, _ = back_up(one.settings(), store.place.uri)
    audio = next(entry for entry in snapshot.entries if entry.path.startswith("home/audio/"))
    blob = Path(store.place.path("blobs", audio.sha256[:2], audio.sha256))
    blob.rename(tmp_path / "aside")
    two = Site(tmp_path / "two", monkeypatch)
    with pytest.raises(BackupError, match="missing"):
        restore(two.settings(), store.place.uri)
    assert not two.lake.home.exists("lake", "words", "manifest", "000000000001.parquet"), "visible before the end"
    (tmp_path / "aside").rename(blob)
    restore(two.settings(), store.place.uri)
    assert contents(two) == before


def test_a_home_with_other_data_or_another_storage_is_refused(
    one: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres: int
) -> None:
    place = str(tmp_path / "backups")
    back_up(one.settings(), place)
    used = Site(tmp_path / "used", monkeypatch)
    land(used.lake, QUALITY, KEYS[0], [{}])
    with pytest.raises(BackupError, match="is not empty"):
        restore(used.settings(), place)
    storage = postgres_storage(postgres, f"other_{time.monotonic_ns()}")
    other = Site(tmp_path / "other", monkeypatch, storage=storage)
    with pytest.raises(BackupError, match="says postgres"):
        restore(other.settings(), place)
    assert not has_runs(storage["storage"]["postgres"]["postgres_url"])
    with pytest.raises(BackupError, match="lies in the home"):
        back_up(one.settings(), f"{one.home_uri}/backups")
    with pytest.raises(BackupError, match="no snapshot"):
        restore(one.settings(), str(tmp_path / "nowhere"))


def test_users_and_keys_of_the_target_are_replaced_only_by_force(
    sites: tuple[Site, Site, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, place = sites
    Accounts.at(database_url(one.settings())).set_user("ana", "admin", "correct horse")
    back_up(one.settings(), place)
    target = Accounts.at(database_url(two.settings()))
    target.set_user("ben", "viewer", "battery staple")
    with pytest.raises(BackupError, match=r"is not empty: podlake_users have rows.*--force"):
        restore(two.settings(), place)
    assert [user.name for user in target.users()] == ["ben"]
    restore(two.settings(), place, replace_service=True)
    if place.startswith("/"):
        restore(two.settings(), place)  # again, as if it had been interrupted before its last database
    target.database.dispose()  # its connections are to the file that was replaced
    assert [user.name for user in target.users()] == ["ana"]


def test_backups_during_landings_and_compactions_are_states_of_the_lake(
    one: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every landing writes one word and replaces the one before; in each backup every episode has exactly one."""
    lake, settings = one.lake, one.settings()
    stop = threading.Event()
    keys = [f"busy-2026010{n}-0000000{n}" for n in range(1, 6)]
    for key in keys:
        land(lake, WORDS, key, [{"word": "0", "word_idx": 0}])

    def land_again() -> None:
        count = 0
        while not stop.is_set():
            count += 1
            for key in keys:
                land(lake, WORDS, key, [{"word": str(count), "word_idx": 0}])

    def compact() -> None:
        while not stop.is_set():
            list(seal(lake, keys))

    workers = [threading.Thread(target=work) for work in (land_again, compact)]
    for worker in workers:
        worker.start()
    try:
        snapshots = [back_up(settings, str(tmp_path / "backups"))[0] for _ in range(3)]
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    for n, snapshot in enumerate(snapshots):
        site = Site(tmp_path / f"restored{n}", monkeypatch)
        restore(site.settings(), str(tmp_path / "backups"), snapshot.name)
        with connect(site.lake.home) as restored:
            rows = "select episode_id, count(*) from words where episode_id like 'busy%' group by all order by all"
            assert ask(restored, rows) == [(key, 1) for key in keys], snapshot.name
        assert list_home(site.lake.home)


def test_the_commands_say_what_they_did(one: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = str(tmp_path / "backups")
    done = podlake(one, "backup", place, "--keep", "3")
    assert done.exit_code == 0, done.stderr
    assert "snapshot 20" in done.stdout
    assert "0 older snapshots are removed" in done.stdout
    assert "0 damaged or missing" in podlake(one, "backup", place, "--verify").stdout
    two = Site(tmp_path / "two", monkeypatch)
    done = podlake(two, "restore", place)
    assert done.exit_code == 0, done.stderr
    assert contents(two) == contents(one)
    done = podlake(two, "restore", place)
    assert done.exit_code == 1
    assert "Restore into an empty" in done.stderr


def podlake(site: Site, *arguments: str) -> Result:
    site.settings()
    return CliRunner().invoke(main, arguments)


def test_secrets_and_databases_of_a_backup_are_only_for_the_user(
    one: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "://" in one.home_uri:
        pytest.skip("the permissions of an object store are its own")
    secret = Path(one.home_uri) / "secrets" / "urls.txt"
    secret.parent.mkdir(parents=True, exist_ok=True)
    secret.write_text("https://a.test/?token=1")
    snapshot, _, _ = back_up(one.settings(), str(tmp_path / "backup"))
    for entry in snapshot.entries:
        blob = tmp_path / "backup" / "blobs" / entry.sha256[:2] / entry.sha256
        if entry.path.startswith(("home/secrets/", "instance/", "service/")):
            assert blob.stat().st_mode & 0o077 == 0, entry.path


def test_bytes_of_a_file_that_has_gone_do_not_count_as_stored(tmp_path: Path) -> None:
    class Late(BackupStore):
        def add(self, source: Path, sha256: str, *, private: bool = False) -> None:
            source.unlink()  # by a compaction, after the file was hashed
            super().add(source, sha256, private=private)

    copying = _Copying(Late(Home.at(str(tmp_path / "backup"))), {}, set())
    file = tmp_path / "rows.parquet"
    for _ in range(2):
        file.write_bytes(b"rows")
        with pytest.raises(FileNotFoundError):
            copying.add("home/lake/rows.parquet", file, 0)
        assert (copying.stored, copying.entries) == (set(), {})
