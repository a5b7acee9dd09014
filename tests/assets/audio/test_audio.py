"""Fetching the audio of a feed's episodes: changed bytes, corrected URLs, alternatives, credentials."""

from __future__ import annotations

import hashlib
import io
import stat
import wave
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from assets.audio.audio import audio
from pipeline.audio_inputs import acquisition
from pipeline.stage import Batch, Failure
from resources.lake.commits import all_open_commits
from resources.lake.lake import Lake
from resources.lake.tables import ACQUISITIONS, EPISODES, FAILURES, HASHES, POLLS, TABLES
from speech.errors import HostPaused
from tests.assets.polled_feed import FEED, Pipeline, enclosure, site
from tests.fetch import loopback


def test_other_bytes_are_a_new_acquisition_and_the_earlier_one_stays(pipeline: Pipeline) -> None:
    files = {"/a.mp3": b"one"}
    with site(files) as host:
        files["/feed"] = FEED.format(enclosures=enclosure(f"http://{host}/a.mp3")).encode()
        pipeline.catalogue.subscribe([(f"http://{host}/feed", "Show")])
        key = pipeline.poll()
        versions = []
        for body in (b"one", b"two", b"two"):
            files["/a.mp3"] = body
            assert pipeline.run("audio", key)
            versions.append(all_open_commits(pipeline.lake.home)["audio"][key].data_version)
    rows = pipeline.lake.rows(ACQUISITIONS, key)
    assert [row.bytes for row in rows] == [3, 3]
    assert len({row.audio_sha256 for row in rows}) == 2
    assert acquisition(pipeline.lake, key).audio_sha256 == rows[1].audio_sha256
    assert all(pipeline.lake.home.exists(row.storage_uri) for row in rows)
    assert versions[0] != versions[1] == versions[2], "what was made from the first bytes is outdated, once"


def test_a_corrected_url_clears_the_failure(pipeline: Pipeline) -> None:
    files = {"/b.mp3": b"audio"}
    with site(files) as host:
        files["/feed"] = FEED.format(enclosures=enclosure(f"http://{host}/missing.mp3")).encode()
        pipeline.catalogue.subscribe([(f"http://{host}/feed", "Show")])
        key = pipeline.poll()
        assert not pipeline.run("audio", key)
        assert pipeline.lake.keys(FAILURES) == [f"{key}.audio"]
        assert pipeline.poll() == key
        assert pipeline.lake.keys(FAILURES) == [f"{key}.audio"], "the same URL has still failed"
        files["/feed"] = FEED.format(enclosures=enclosure(f"http://{host}/b.mp3")).encode()
        assert pipeline.poll() == key
        assert pipeline.lake.keys(FAILURES) == []
        assert pipeline.run("audio", key)


def test_the_next_alternative_is_fetched(pipeline: Pipeline) -> None:
    files = {"/b.mp3": b"audio"}
    with site(files) as host:
        both = enclosure(f"http://{host}/gone.mp3") + enclosure(f"http://{host}/b.mp3")
        files["/feed"] = FEED.format(enclosures=both).encode()
        pipeline.catalogue.subscribe([(f"http://{host}/feed", "Show")])
        key = pipeline.poll()
        assert pipeline.run("audio", key)
        assert acquisition(pipeline.lake, key).requested_url == f"http://{host}/b.mp3"
        del files["/b.mp3"]
        assert not pipeline.run("audio", key)
    (failure,) = pipeline.lake.read_file(FAILURES, f"{key}.audio").to_pylist()  # type: ignore[union-attr]
    assert (failure["error_class"], "gone.mp3" in failure["message"]) == ("http_not_found", True)


def test_credentials_are_used_and_shown_nowhere(
    pipeline: Pipeline, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    secrets = ["FEEDSECRET", "PASSWORD", "FILESECRET", "HOPSECRET"]
    files = {"/a.mp3?token=FILESECRET": b"to:/b.mp3?sig=HOPSECRET", "/b.mp3?sig=HOPSECRET": b"audio"}
    with site(files) as host:
        files["/feed?auth=FEEDSECRET"] = FEED.format(
            enclosures=f'<link rel="self" href="http://{host}/feed?auth=FEEDSECRET"/>'
            + enclosure(f"http://{host}/a.mp3?token=FILESECRET") + "<guid>http://x.test/?key=FILESECRET</guid>"
        ).encode()  # fmt: skip
        (feed,) = pipeline.catalogue.subscribe([(f"http://me:PASSWORD@{host}/feed?auth=FEEDSECRET", "Show")])
        key = pipeline.poll()
        assert pipeline.run("audio", key)
        del files["/a.mp3?token=FILESECRET"]
        assert not pipeline.run("audio", key)
    assert feed.url == f"http://***@{host}/feed?auth=***"
    assert acquisition(pipeline.lake, key).final_url == f"http://{host}/b.mp3?sig=***"
    shown = capfd.readouterr()
    told = [shown.out, shown.err, caplog.text, repr(pipeline.instance.all_logs("x"))]
    for name in ("feeds", "episodes", "audio"):
        told += [repr(pipeline.instance.fetch_materializations(dg.AssetKey(name), limit=9).records)]
    for table in TABLES.values():
        for landed in ("show", key, "all", f"{key}.audio"):
            told += [repr(rows.to_pylist()) for rows in [_rows(pipeline.lake, table, landed)] if rows is not None]
    told += [path.read_bytes().decode("latin-1") for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert [secret for secret in secrets for text in told if secret in text] == []
    kept = list((tmp_path / "home" / "secrets").rglob("*.json"))
    assert len(kept) == 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}


def test_credentials_in_texts_and_details_are_not_shown(pipeline: Pipeline) -> None:
    secret = "http://me:hunter2@x.test/a?token=t0psecret"
    details = (
        f"<link>{secret}</link><description>see {secret}</description>"
        f'<itunes:image href="{secret}"/><podcast:person href="{secret}">{secret}</podcast:person>'
        f'<podcast:funding url="{secret}">Give</podcast:funding><podcast:license url="{secret}">{secret}</podcast:license>'
        f"<itunes:author>{secret}</itunes:author><podcast:guid>{secret}</podcast:guid><category>{secret}</category>"
    )
    names = 'xmlns:itunes="http://www.itunes.com/dtds/podcast-1.0.dtd" xmlns:podcast="https://podcastindex.org/namespace/1.0"'
    with site({}) as host:
        feed = FEED.replace("<rss ", f"<rss {names} ").replace("<item>", f"{details}<item>{details}")
        files = {"/feed": feed.format(enclosures=enclosure(f"http://{host}/a.mp3")).encode()}
    with site(files) as host:
        pipeline.catalogue.subscribe([(f"http://{host}/feed", "Show")])
        key = pipeline.poll()
    (row,), (poll,) = pipeline.lake.rows(EPISODES, "show"), pipeline.lake.rows(POLLS, "show")
    shown = "http://***@x.test/a?token=***"
    assert row.episode_id == key
    for one in (row, poll):
        assert (one.link, one.image_url, one.description_text, one.license_url) == (shown, shown, f"see {shown}", shown)
        assert one.persons is not None
        assert (one.persons[0].name, one.persons[0].url) == (shown, shown)
        assert not any(secret in repr(one) for secret in ("hunter2", "t0psecret"))
    assert (poll.author, poll.podcast_guid, poll.categories) == (shown, shown, (shown,))


def test_a_failure_does_not_show_credentials(pipeline: Pipeline) -> None:
    with site({"/feed?token=t0psecret": b"<html>Parked</html>"}) as host:
        pipeline.catalogue.subscribe([(f"http://me:hunter2@{host}/feed?token=t0psecret", "Show")])
        assert pipeline.run("feeds")
        assert not pipeline.run("episodes", "show")
    failure = pipeline.lake.last_failure("show.episodes")
    assert failure is not None
    assert failure.message.startswith(
        f"http://***@{host}/feed?token=*** is not a podcast feed: the server sent an HTML"
    )


def _rows(lake: Lake, table, key: str):  # type: ignore[no-untyped-def]
    return lake.read(table, key) if table.is_sealable else lake.read_file(table, key)


def test_a_long_retry_after_is_when_the_download_is_tried_again(pipeline: Pipeline) -> None:
    files = {"/a.mp3": f"429:{3 * 86_400}".encode()}
    with site(files) as host:
        files["/feed"] = FEED.format(enclosures=enclosure(f"http://{host}/a.mp3")).encode()
        pipeline.catalogue.subscribe([(f"http://{host}/feed", "Show")])
        key = pipeline.poll()
        assert not pipeline.run("audio", key)
    failure = pipeline.lake.last_failure(f"{key}.audio")
    assert failure is not None
    assert failure.next_retry_at is not None
    assert (failure.error_class, failure.next_retry_at - failure.last_at) == ("http_429", timedelta(days=3))


def test_a_busy_host_is_asked_for_no_further_episode(pipeline: Pipeline) -> None:
    item = FEED[FEED.index("<item>") : FEED.index("</channel>")]
    files: dict[str, bytes] = {}
    with site(files) as host:
        items = [item.replace("g1", f"g{n}").format(enclosures=enclosure(f"http://{host}/{n}.mp3")) for n in range(40)]
        files |= {f"/{n}.mp3": b"429:7200" for n in range(40)}
        files["/feed"] = FEED.replace(item, "".join(items)).encode()
        pipeline.catalogue.subscribe([(f"http://{host}/feed", "Show")])
        assert pipeline.run("feeds")
        assert pipeline.run("episodes", "show")
        keys = tuple(row.episode_id for row in pipeline.lake.rows(EPISODES, "show"))
        outcomes = list(
            audio.work(
                Batch(keys, {}),
                catalogue=pipeline.catalogue,
                audio_store=pipeline.given["audio_store"],
                fetch_policy=loopback(connections_per_host=2),
            )
        )
    failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    assert [failure.error_class for failure in failures] == ["http_429"] * 40
    assert 1 <= sum(not isinstance(failure.error, HostPaused) for failure in failures) <= 2, "those under way"


def test_a_permanent_redirect_is_followed_when_seen_twice(pipeline: Pipeline) -> None:
    files: dict[str, bytes] = {}
    with site(files, redirect=301) as host:
        files["/new"] = FEED.format(enclosures=enclosure(f"http://{host}/a.mp3")).encode()
        files["/feed"] = f"to:http://{host}/new".encode()
        pipeline.catalogue.subscribe([(f"http://{host}/feed", "Show")])
        seen = []
        for _ in range(3):
            pipeline.poll()
            (row,) = pipeline.lake.rows(POLLS, "show")
            seen.append((row.problems, pipeline.catalogue.subscriptions()[0].url))
    moved = f"moved permanently to http://{host}/new; the subscription"
    assert seen == [
        ((f"{moved} follows if the next poll agrees",), f"http://{host}/feed"),
        ((f"{moved} has followed",), f"http://{host}/new"),
        ((), f"http://{host}/new"),
    ]


def test_a_new_address_that_the_feed_declares_is_followed_when_seen_twice(pipeline: Pipeline) -> None:
    files: dict[str, bytes] = {}
    with site(files) as host:
        declared = FEED.format(enclosures=enclosure(f"http://{host}/a.mp3")).replace(
            "<title>Show</title>",
            '<title>Show</title><itunes:new-feed-url xmlns:itunes="http://www.itunes.com/dtds/podcast-1.0.dtd">'
            f"http://{host}/new</itunes:new-feed-url>",
        )
        files["/feed"] = files["/new"] = declared.encode()
        pipeline.catalogue.subscribe([(f"http://{host}/feed", "Show")])
        urls = []
        for _ in range(3):
            pipeline.poll()
            urls.append(pipeline.catalogue.subscriptions()[0].url)
    assert urls == [f"http://{host}/feed", f"http://{host}/new", f"http://{host}/new"]
    (row,) = pipeline.lake.rows(POLLS, "show")
    assert row.problems == ()


NEW_URL = '<itunes:new-feed-url xmlns:itunes="http://www.itunes.com/dtds/podcast-1.0.dtd">{}</itunes:new-feed-url>'


def declares(new: str) -> str:
    return FEED.replace("<title>Show</title>", f"<title>Show</title>{NEW_URL.format(new)}")


def test_a_new_address_is_seen_again_although_the_feed_has_not_changed(pipeline: Pipeline) -> None:
    """Most servers answer the second poll with 304."""
    files: dict[str, bytes] = {}
    with site(files, etag=True) as host:
        files["/feed"] = declares(f"http://{host}/new").format(enclosures=enclosure(f"http://{host}/a.mp3")).encode()
        files["/new"] = FEED.format(enclosures=enclosure(f"http://{host}/a.mp3")).encode()
        pipeline.catalogue.subscribe([(f"http://{host}/feed", "Show")])
        urls = []
        for _ in range(2):
            pipeline.poll()
            urls.append(pipeline.catalogue.subscriptions()[0].url)
    assert urls == [f"http://{host}/feed", f"http://{host}/new"]


@pytest.mark.parametrize(
    "new",
    ["http://10.0.0.1/new", "http://127.0.0.2:8000/new", "http://169.254.169.254/", "http://[::ffff:10.0.0.1]/",
     "http://2130706434/", "http://0.0.0.0/", "http://a..b/"],
)  # fmt: skip
def test_a_subscription_does_not_move_to_where_nothing_is_fetched_from(pipeline: Pipeline, new: str) -> None:
    files: dict[str, bytes] = {}
    with site(files, etag=True) as host:
        files["/feed"] = declares(new).format(enclosures=enclosure(f"http://{host}/a.mp3")).encode()
        pipeline.catalogue.subscribe([(f"http://{host}/feed", "Show")])
        for _ in range(3):
            pipeline.poll()
            (poll,) = pipeline.lake.rows(POLLS, "show")
            said = f"moved permanently to {new}, which is no public address; the subscription does not follow"
            assert poll.problems == (said,)
        assert pipeline.catalogue.subscriptions()[0].url == f"http://{host}/feed"
    assert poll.etag, "an address that is not followed costs no whole document at each poll"


def test_a_subscription_does_not_move_to_an_address_without_a_feed(pipeline: Pipeline) -> None:
    files: dict[str, bytes] = {}
    with site(files, etag=True) as host:
        new = f"http://{host}/new"
        files["/feed"] = declares(new).format(enclosures=enclosure(f"http://{host}/a.mp3")).encode()
        pipeline.catalogue.subscribe([(f"http://{host}/feed", "Show")])
        for content, error in ((None, "http_not_found"), (b"<html><body>Parked.</body></html>", "not_a_feed")):
            if content is not None:
                files["/new"] = content
                files["/feed"] += b"<!-- changed -->"
            for _ in range(2):
                pipeline.poll()
                (poll,) = pipeline.lake.rows(POLLS, "show")
                said = (
                    f"moved permanently to {new}, where no feed was found ({error}); the subscription does not follow"
                )
                assert poll.problems == (said,)
        assert pipeline.catalogue.subscriptions()[0].url == f"http://{host}/feed"


def test_two_subscriptions_do_not_move_to_one_address(pipeline: Pipeline) -> None:
    files: dict[str, bytes] = {}
    with site(files, redirect=301) as host:
        files["/new"] = FEED.format(enclosures=enclosure(f"http://{host}/a.mp3")).encode()
        files["/feed"] = f"to:http://{host}/new".encode()
        pipeline.catalogue.subscribe([(f"http://{host}/feed", "Show"), (f"http://{host}/new", "Other")])
        for _ in range(2):
            pipeline.poll()
            (poll,) = pipeline.lake.rows(POLLS, "show")
            said = f"moved permanently to http://{host}/new, which other polls; the subscription does not follow"
            assert poll.problems == (said,)
        assert {feed.url for feed in pipeline.catalogue.subscriptions()} == {
            f"http://{host}/feed",
            f"http://{host}/new",
        }


def test_a_permanent_redirect_to_a_private_address_ends_the_poll_and_moves_nothing(pipeline: Pipeline) -> None:
    files: dict[str, bytes] = {}
    with site(files, redirect=301) as host:
        files["/feed"] = FEED.format(enclosures=enclosure(f"http://{host}/a.mp3")).encode()
        pipeline.catalogue.subscribe([(f"http://{host}/feed", "Show")])
        key = pipeline.poll()
        files["/feed"] = b"to:http://127.0.0.2:9/new"
        for _ in range(2):
            assert not pipeline.run("episodes", "show")
        assert pipeline.catalogue.subscriptions()[0].url == f"http://{host}/feed"
        files["/feed"] = FEED.format(enclosures=enclosure(f"http://{host}/a.mp3")).encode()
        assert pipeline.poll() == key


def test_guids_that_differ_only_in_credentials_are_episodes_of_their_own(pipeline: Pipeline) -> None:
    item = FEED[FEED.index("<item>") : FEED.index("</channel>")]
    files: dict[str, bytes] = {}
    with site(files) as host:
        items = "".join(
            item.replace("g1", f"http://x.test/?token=S3CRET{n}").format(enclosures=enclosure(f"http://{host}/{n}.mp3"))
            for n in (1, 2)
        )
        files["/feed"] = FEED.replace(item, items).encode()
        pipeline.catalogue.subscribe([(f"http://{host}/feed", "Show")])
        assert pipeline.run("feeds")
        seen = []
        for _ in range(2):
            assert pipeline.run("episodes", "show")
            seen.append({row.enclosure_url: row.episode_id for row in pipeline.lake.rows(EPISODES, "show")})
    assert sorted(seen[0]) == [f"http://{host}/1.mp3", f"http://{host}/2.mp3"]
    assert seen[0] == seen[1]
    assert not any("S3CRET" in row.guid for row in pipeline.lake.rows(EPISODES, "show"))


def test_hashes_names_the_bytes_by_sha256_and_md5(pipeline: Pipeline) -> None:
    sound = io.BytesIO()
    with wave.open(sound, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(b"\x01\x00" * 16_000)
    files = {"/a.wav": sound.getvalue()}
    with site(files) as host:
        files["/feed"] = FEED.format(enclosures=enclosure(f"http://{host}/a.wav")).encode()
        pipeline.catalogue.subscribe([(f"http://{host}/feed", "Show")])
        key = pipeline.poll()
        assert pipeline.run("audio", key)
    assert pipeline.run("hashes", key)
    (row,) = pipeline.lake.rows(HASHES, key)
    assert (row.sha256, row.md5) == (
        hashlib.sha256(sound.getvalue()).hexdigest(),
        hashlib.md5(sound.getvalue()).hexdigest(),
    )
