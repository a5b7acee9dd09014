"""Each change of an alert is told once by each channel."""

from __future__ import annotations

from pathlib import Path

import pytest

from resources.alerts.channels import NotTold, tell_all
from resources.alerts.ledger import Alert, AlertLedger, RaisedAlert
from tests.conftest import Storage

DISK, FEED = Alert("low_disk", "home", "Full."), Alert("stalled_feed", "show", "404.")


class Heard:
    """A channel that remembers, or fails."""

    def __init__(self, name: str = "command") -> None:
        self.name = name
        self.said: list[tuple[str, bool]] = []
        self.is_down = False

    def tell(self, raised: RaisedAlert) -> None:
        if self.is_down:
            raise NotTold("down")
        self.said.append((raised.alert.name, raised.over_at is not None))


@pytest.fixture
def ledger(storage: Storage, tmp_path: Path) -> AlertLedger:
    url = storage["storage"]["postgres"]["postgres_url"] if storage else f"sqlite:///{tmp_path}/service.db"
    return AlertLedger.at(url)


def test_a_change_is_told_once(ledger):
    channel = Heard()
    for alerts in ([DISK], [DISK, FEED], [DISK, FEED], [FEED], [FEED], []):
        ledger.update(alerts)
        assert tell_all(ledger, [channel]) == []
    assert channel.said == [
        ("low_disk", False), ("stalled_feed", False), ("low_disk", True), ("stalled_feed", True),
    ]  # fmt: skip


def test_an_alert_that_comes_again_is_told_again(ledger):
    channel = Heard()
    for alerts in ([DISK], [], [DISK], []):
        ledger.update(alerts)
        tell_all(ledger, [channel])
    assert channel.said == [("low_disk", False), ("low_disk", True)] * 2


def test_a_channel_that_was_down_tells_later_and_the_others_do_not_wait(ledger):
    down, up = Heard("email"), Heard("webhook")
    down.is_down = True
    ledger.update([DISK, FEED])
    assert len(tell_all(ledger, [down, up])) == 1
    assert len(up.said) == 2
    down.is_down = False
    assert tell_all(ledger, [down, up]) == []
    assert (len(down.said), len(up.said)) == (2, 2)


def test_what_was_over_before_it_was_told_is_not_told(ledger):
    channel = Heard()
    channel.is_down = True
    ledger.update([DISK])
    tell_all(ledger, [channel])
    ledger.update([])
    channel.is_down = False
    tell_all(ledger, [channel])
    assert channel.said == []


def test_the_list_has_raised_alerts_first_with_their_newest_message(ledger):
    ledger.update([DISK, FEED])
    ledger.update([Alert("stalled_feed", "show", "500.")])
    assert [(one.alert.message, one.over_at is None) for one in ledger.all()] == [("500.", True), ("Full.", False)]
