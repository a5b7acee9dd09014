"""Feeds of several pages: what lands if some of them cannot be read."""

from __future__ import annotations

import gzip

import pytest

import assets.catalogue.feed_pages
from partitions.feeds import encodings
from resources.lake.tables import EPISODES, POLLS
from tests.assets.polled_feed import FEED, Pipeline, enclosure, site


def test_further_pages_are_read_up_to_a_loop(pipeline: Pipeline) -> None:
    files: dict[str, bytes] = {}
    with site(files) as host:
        for page, following in (("1", "2"), ("2", "3"), ("3", "1")):
            link = f'<link xmlns="http://www.w3.org/2005/Atom" rel="next" href="http://{host}/{following}"/><item>'
            one = FEED.format(enclosures=enclosure(f"http://{host}/{page}.mp3")).replace("g1", f"g{page}")
            files[f"/{page}"] = one.replace("<item>", link).encode()
        pipeline.catalogue.subscribe([(f"http://{host}/1", "Show")])
        assert pipeline.run("feeds")
        assert pipeline.run("episodes", "show")
    assert sorted(row.guid for row in pipeline.lake.rows(EPISODES, "show")) == ["g1", "g2", "g3"]


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ("http://10.0.0.1/2", "10.0.0.1 is at 10.0.0.1, which is not a public address"),
        ("file:///etc/passwd", "leads to no http or https address"),
        ("/gone", "answered 404 Not Found"),
        ("/page", "is not a podcast feed"),
        ("/bomb", "The unzipped document is larger than 1000 bytes"),
    ],
)
def test_a_further_page_that_cannot_be_read_costs_itself_only(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, second: str, said: str
) -> None:
    monkeypatch.setattr(encodings, "UNZIPPED_LIMIT_BYTES", 1000)
    link = f'<link xmlns="http://www.w3.org/2005/Atom" rel="next" href="{second}"/><item>'
    first = FEED.format(enclosures=enclosure("/1.mp3")).replace("<item>", link).encode()
    with site({"/1": first, "/page": b"<html></html>", "/bomb": gzip.compress(bytes(10_000))}) as host:
        pipeline.catalogue.subscribe([(f"http://{host}/1", "Show")])
        assert pipeline.run("feeds")
        assert pipeline.run("episodes", "show")
    (poll,) = pipeline.lake.rows(POLLS, "show")
    assert poll.n_episodes == 1
    (problem,) = poll.problems
    assert problem.startswith("a further page could not be read: ")
    assert said in problem


@pytest.mark.parametrize(
    ("second", "is_asked_again"),
    [(None, False), (b"503", True), (b"429:0", True), (b"to:http://127.0.0.1:1/closed", True)],
)
def test_episodes_of_a_page_that_cannot_be_read_stay_listed(
    pipeline: Pipeline, second: bytes | None, is_asked_again: bool
) -> None:
    def page(guid: str, *, following: str = "") -> str:
        link = f'<link xmlns="http://www.w3.org/2005/Atom" rel="next" href="{following}"/>' if following else ""
        one = FEED.format(enclosures=enclosure(f"/{guid}.mp3")).replace("g1", guid).replace("One", guid)
        return one.replace("<item>", f"{link}<item>")

    first, items = page("g1", following="/2"), page("g3")
    with_g3 = first.replace("</channel>", f"{items[items.index('<item>') : items.index('</channel>')]}</channel>")
    files = {"/1": first.encode(), "/2": page("g2").encode()}
    with site(files, etag=True) as host:
        pipeline.catalogue.subscribe([(f"http://{host}/1", "Show")])
        assert pipeline.run("feeds")
        assert pipeline.run("episodes", "show")
        files["/1"] = with_g3.encode()
        del files["/2"]
        files.update({"/2": second} if second else {})
        assert pipeline.run("episodes", "show")
        rows = {row.guid: row.listed for row in pipeline.lake.rows(EPISODES, "show")}
        (poll,) = pipeline.lake.rows(POLLS, "show")
        files["/2"] = page("g4").encode()  # the first page stays as it is
        assert pipeline.run("episodes", "show")
        later = {row.guid: row.listed for row in pipeline.lake.rows(EPISODES, "show")}
    assert rows == {"g1": True, "g2": True, "g3": True}
    (problem,) = poll.problems
    assert problem.startswith("a further page could not be read: ")
    assert later == ({"g1": True, "g2": False, "g3": True, "g4": True} if is_asked_again else rows)


def test_episodes_of_pages_that_are_too_many_stay_listed(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    link = '<link xmlns="http://www.w3.org/2005/Atom" rel="next" href="/{}"/><item>'
    files = {
        f"/{n}": FEED.format(enclosures=enclosure(f"/{n}.mp3")).replace("g1", f"g{n}").replace("One", f"Episode {n}")
        .replace("<item>", link.format(n + 1) if n < 3 else "<item>").encode()
        for n in (1, 2, 3)
    }  # fmt: skip
    with site(files) as host:
        pipeline.catalogue.subscribe([(f"http://{host}/1", "Show")])
        assert pipeline.run("feeds")
        assert pipeline.run("episodes", "show")
        monkeypatch.setattr(assets.catalogue.feed_pages, "MOST_PAGES", 1)
        assert pipeline.run("episodes", "show")
    (poll,) = pipeline.lake.rows(POLLS, "show")
    assert poll.problems == ("only the first 1 further pages were read",)
    assert {row.guid: row.listed for row in pipeline.lake.rows(EPISODES, "show")} == {
        "g1": True,
        "g2": True,
        "g3": True,
    }


def test_pages_without_end_are_read_for_a_limited_time(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets.catalogue.feed_pages, "PAGES_WITHIN_S", 0.0)
    link = '<link xmlns="http://www.w3.org/2005/Atom" rel="next" href="/2"/><item>'
    page = FEED.format(enclosures=enclosure("/1.mp3")).replace("<item>", link)
    with site({"/1": page.encode()}) as host:
        pipeline.catalogue.subscribe([(f"http://{host}/1", "Show")])
        assert pipeline.run("feeds")
        assert pipeline.run("episodes", "show")
    (poll,) = pipeline.lake.rows(POLLS, "show")
    assert (poll.n_episodes, poll.problems) == (1, ("further pages were not read, because they took more than 0 s",))
