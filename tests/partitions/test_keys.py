"""Names are made once: what is known keeps its name, whatever changes."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partitions.keys import KnownEpisode, assign_keys, episode_key, feed_slug, media_identity

DAY = datetime(2025, 3, 2, 23, 30, tzinfo=UTC)
TEXT = st.text(max_size=60)


@dataclass(frozen=True)
class Listed:
    guid: str
    published_at: datetime | None = DAY
    title: str | None = "One"


LISTINGS = st.lists(
    st.builds(
        Listed, TEXT, st.none() | st.just(DAY) | st.datetimes(timezones=st.just(UTC)), st.sampled_from(["One", "Two"])
    ),
    unique_by=lambda episode: episode.guid,
    max_size=8,
)


def known(episodes: list[Listed], keys: dict[str, str]) -> dict[str, KnownEpisode]:
    return {episode.guid: KnownEpisode(keys[episode.guid], episode.title, episode.published_at) for episode in episodes}


class TestFeedSlug:
    @pytest.mark.parametrize(
        ("title", "slug"),
        [
            ("Giant Bombcast", "giant-bombcast"),
            ("It’s Not Always Special ", "its-not-always-special"),
            ("Žluťoučký kůň & Größe", "zlutoucky-kun-and-grosse"),
            ("Langsam gesprochene Nachrichten | Audios | DW Deutsch lernen", "langsam-gesprochene-nachrichten-audios"),
            ("x" * 60, "x" * 40),
            ("忽左忽右", "justpod-left-right"),
            ("…", "justpod-left-right"),
            (None, "justpod-left-right"),
        ],
    )
    def test_readable(self, title: str | None, slug: str) -> None:
        assert feed_slug(title, "https://www.justpod.com/feeds/left_right.xml", ()) == slug

    def test_nothing_to_read(self) -> None:
        assert feed_slug(None, "https://フィード.example/", ()) == "example"
        assert feed_slug(None, "https://", ()) == "feed-66dfeeed"

    def test_taken(self) -> None:
        url = "https://one.example/feed"
        second = feed_slug("Same name", url, {"same-name"})
        assert re.fullmatch(r"same-name-[0-9a-f]{8}", second)
        third = feed_slug("Same name", url, {"same-name", second})
        assert re.fullmatch(r"same-name-[0-9a-f]{16}", third)
        with pytest.raises(ValueError, match="Look it up"):
            feed_slug("Same name", url, {"same-name", second, third})

    @given(st.none() | TEXT, TEXT)
    def test_charset_and_length(self, title: str | None, url: str) -> None:
        first = feed_slug(title, url, ())
        for slug in (first, feed_slug(title, url, {first})):
            assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug)
            assert len(slug) <= 40


class TestEpisodeKey:
    def test_with_and_without_a_date(self) -> None:
        assert episode_key("my-show", "guid-1", DAY, ()) == "my-show-20250302-c1ce8282"
        assert episode_key("my-show", "guid-1", None, ()) == "my-show-undated-c1ce8282"

    def test_collision(self) -> None:
        assert (
            episode_key("my-show", "guid-1", DAY, {"my-show-20250302-c1ce8282"}) == "my-show-20250302-c1ce8282f097d63f"
        )


class TestAssignKeys:
    def test_what_is_known_keeps_its_key(self) -> None:
        before = Listed("1")
        keys = assign_keys("f", [before], {})
        after = replace(before, published_at=None, title="Another")
        assert assign_keys("f", [after], known([before], keys)) == keys

    def test_new_guids_for_old_episodes(self) -> None:
        before = [Listed("1", DAY, "One"), Listed("2", DAY, "Two")]
        keys = assign_keys("f", before, {})
        moved = [Listed("x", DAY, " ONE"), Listed("2", DAY, "Two")]
        assert assign_keys("f", moved, known(before, keys)) == {"x": keys["1"], "2": keys["2"]}

    @pytest.mark.parametrize(
        "after",
        [
            Listed("2", DAY + timedelta(hours=1)),  # an hourly bulletin: one title and one URL, a guid for each hour
            Listed("2", DAY, "Two"),  # two episodes of a day
            Listed("2", None),
            Listed("2", DAY, None),
        ],
    )
    def test_another_guid_with_another_title_or_date_is_another_episode(self, after: Listed) -> None:
        keys = assign_keys("f", [Listed("1")], {})
        assert assign_keys("f", [after], known([Listed("1")], keys))["2"] != keys["1"]

    @given(LISTINGS, LISTINGS)
    def test_other_guids_and_other_dates_are_other_episodes(self, before: list[Listed], after: list[Listed]) -> None:
        old = assign_keys("f", before, {})
        new = assign_keys("f", after, known(before, old))
        by_key = {old[episode.guid]: episode for episode in before}
        for episode in after:
            if same := by_key.get(new[episode.guid]):
                assert episode.guid == same.guid or episode.published_at == same.published_at

    def test_an_episode_still_listed_has_no_heir(self) -> None:
        keys = assign_keys("f", [Listed("1")], {})
        both = assign_keys("f", [Listed("1"), Listed("2")], known([Listed("1")], keys))
        assert both["1"] == keys["1"] != both["2"]

    def test_neither_two_heirs_nor_two_orphans(self) -> None:
        keys = assign_keys("f", [Listed("1")], {})
        heirs = assign_keys("f", [Listed("2"), Listed("3")], known([Listed("1")], keys))
        assert keys["1"] not in heirs.values()
        before = [Listed("1"), Listed("2")]
        keys = assign_keys("f", before, {})
        assert assign_keys("f", [Listed("3")], known(before, keys))["3"] not in keys.values()

    @given(LISTINGS)
    def test_stable_unique_and_safe(self, episodes: list[Listed]) -> None:
        keys = assign_keys("f", episodes, {})
        assert list(keys) == [episode.guid for episode in episodes]
        assert len(set(keys.values())) == len(keys)
        assert all(re.fullmatch(r"f-(\d{8}|undated)-[0-9a-f]{8,64}", key) for key in keys.values())
        assert assign_keys("f", reversed(episodes), known(episodes, keys)) == keys

    @given(LISTINGS, LISTINGS)
    def test_no_key_is_given_twice(self, before: list[Listed], after: list[Listed]) -> None:
        old = assign_keys("f", before, {})
        new = assign_keys("f", after, known(before, old))
        assert len(set(new.values())) == len(new)
        assert all(new[guid] == old[guid] for guid in new.keys() & old.keys())


@pytest.mark.parametrize(
    ("url", "identity"),
    [
        ("https://CDN.example/a.mp3?updated=1#t=3", "cdn.example/a.mp3"),
        ("http://cdn.example:80/a.mp3", "cdn.example/a.mp3"),
        ("http://cdn.example:8080/a.mp3", "cdn.example:8080/a.mp3"),
        ("https://cdn.example/play?id=3", "cdn.example/play?id=3"),
        ("https://cdn.example/download.php?id=4", "cdn.example/download.php?id=4"),
        ("https://cdn.example/play.mp3?id=4&utm_source=x", "cdn.example/play.mp3?id=4"),
        ("https://x.example/8835878.mp3?modified=1768586457&sid=2399216&source=rss", "x.example/8835878.mp3"),
        ("https://x.example/1.mp3?token-hash=Nx%3D&token-time=1761177600", "x.example/1.mp3"),
        ("https://cdn.example/play?utm_source=x", "cdn.example/play?utm_source=x"),
        ("http://p.example/redirect.mp3?http://x.example/1.mp3", "p.example/redirect.mp3?http://x.example/1.mp3"),
        ("http://[broken", "http://[broken"),
    ],
)
def test_media_identity(url: str, identity: str) -> None:
    assert media_identity(url) == identity
