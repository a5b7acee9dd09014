from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partitions.feeds.times import parse_date, parse_duration_ms


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Wed, 08 Feb 2023 20:34:49 GMT", (2023, 2, 8, 20, 34, 49)),
        ("Wed, 01 Feb 2023 05:00:00 -0000", (2023, 2, 1, 5)),
        ("Thu, 07 Dec 17 10:00:29 -0800", (2017, 12, 7, 18, 0, 29)),
        ("Tue, 01 Oct 2019 14:30:00 PST", (2019, 10, 1, 22, 30)),
        ("Fri 1 Oct 2010 01:30:00 GMT", (2010, 10, 1, 1, 30)),
        ("01 Mar 2013 12:00:00 EST", (2013, 3, 1, 17)),
        ("Fri, 23 December 2011 10:00:00 EST", (2011, 12, 23, 15)),
        ("Mon, 5 Sept 2022 08:00:00 +0200", (2022, 9, 5, 6)),
        ("1 Jan 99", (1999, 1, 1)),
        ("Mon, 03 Feb 2025 24:00:00 +0000", (2025, 2, 4)),
        ("Mon, 03 Feb 2025 7:05 pm CET", (2025, 2, 3, 18, 5)),
        ("Mon, 03 Feb 2025 12:05 am", (2025, 2, 3, 0, 5)),
        ("Mon, 03 Feb 2025 10:00:00 GMT+2", (2025, 2, 3, 8)),
        ("Mon, 03 Feb 2025 10:00:00 +05:30", (2025, 2, 3, 4, 30)),
        ("Mon, 03 Feb 2025 10:00:00 XYZ", (2025, 2, 3, 10)),
        ("2025-02-03T10:00:00Z", (2025, 2, 3, 10)),
        ("2025-02-03T10:00:00.123+01:00", (2025, 2, 3, 9)),
        ("2025-02-03 10:00", (2025, 2, 3, 10)),
        ("2025-02-03", (2025, 2, 3)),
        ("20250203", (2025, 2, 3)),
        ("Mon Feb  3 10:00:00 2025", (2025, 2, 3, 10)),
        ("Mon Feb  3 10:00:00 PST 2025", (2025, 2, 3, 18)),
        ("February 3rd, 2025 at 10:00", (2025, 2, 3, 10)),
        ("Feb 3, 2025", (2025, 2, 3)),
        ("30 Oct 1938 20:00:00 EST", (1938, 10, 31, 1)),
    ],
)
def test_date(text: str, expected: tuple[int, ...]) -> None:
    assert parse_date(text) == datetime(*expected, tzinfo=UTC)  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "soon",
        "32 Jan 2025",
        "2025-13-01",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "0000-00-00",
        "0001-01-01",
        "9999-12-31",
    ],
)
def test_no_date(text: str | None) -> None:
    assert parse_date(text) is None


@given(st.text(alphabet="0123456789:-+ TZapmJanFebGMT,./", max_size=40))
def test_nothing_is_raised(text: str) -> None:
    date = parse_date(text)
    assert date is None or date.tzinfo is UTC
    duration_ms = parse_duration_ms(text)
    assert duration_ms is None or 0 < duration_ms < 2**31


@given(st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2049, 12, 31)))
def test_every_rfc_822_date(moment: datetime) -> None:
    moment = moment.replace(microsecond=0, tzinfo=UTC)
    assert parse_date(f"{moment:%a, %d %b %Y %H:%M:%S} +0000") == moment
    assert parse_date(moment.isoformat()) == moment


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1:02:03", 3_723_000),
        ("01:02:03.5", 3_723_500),
        ("62:03", 3_723_000),
        ("3600", 3_600_000),
        ("3600.25", 3_600_250),
        (" 59 ", 59_000),
        ("PT1H2M", 3_720_000),
        ("PT45M30.5S", 2_730_500),
        ("P0DT1H", 3_600_000),
        ("1h 2m 3s", 3_723_000),
        ("45 min", 2_700_000),
        ("1 hour 5 minutes", 3_900_000),
        ("", None),
        (None, None),
        ("0", None),
        ("00:00:00", None),
        ("-5", None),
        ("1:2:3:4", None),
        ("an hour", None),
        ("P", None),
        ("99999999999", None),
        ("9" * 400, None),
    ],
)
def test_duration(text: str | None, expected: int | None) -> None:
    assert parse_duration_ms(text) == expected


@given(
    st.integers(1, 31), st.sampled_from(["Jan", "feb", "OCT", "Dec"]), st.integers(1890, 2110), st.integers(0, 25),
    st.integers(0, 61), st.sampled_from(["GMT", "utc", "+0530", "-0800", "+2400", "-0099"]),
)  # fmt: skip
def test_the_usual_form_is_read_like_all_others(
    day: int, month: str, year: int, hour: int, second: int, zone: str
) -> None:
    text = f"Thu, {day} {month} {year} {hour:02}:59:{second:02} {zone}"
    assert parse_date(text) == parse_date(f"{text} ")
