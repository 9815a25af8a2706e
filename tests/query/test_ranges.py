"""Ranges by a name, by days and instants, and the ones before them: all by the calendar."""

from datetime import UTC, date, datetime

import pytest

from keytrail.errors import RequestError
from keytrail.instants import to_instant
from keytrail.query.ranges import PRESETS, before, between, earlier, named, whole_days

NEW_YORK = "America/New_York"
NOW = to_instant(datetime(2026, 3, 15, 0, 30, tzinfo=UTC))
"""Still the evening of 14 March in New York, whose clock was set forward on the 8th."""


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("today", date(2026, 3, 14), date(2026, 3, 14)),
        ("yesterday", date(2026, 3, 13), date(2026, 3, 13)),
        ("last_7_days", date(2026, 3, 8), date(2026, 3, 14)),
        ("last_30_days", date(2026, 2, 13), date(2026, 3, 14)),
        ("this_month", date(2026, 3, 1), date(2026, 3, 14)),
        ("last_month", date(2026, 2, 1), date(2026, 2, 28)),
    ],
)
def test_a_name_of_days(name: str, first: date, last: date) -> None:
    assert named(name, NEW_YORK, NOW).days == (first, last)


def test_a_name_of_hours() -> None:
    assert named("last_hour", "UTC", NOW).edges == ("2026-03-14T23:30:00.000Z", "2026-03-15T00:30:00.000Z")
    assert named("last_24_hours", "UTC", NOW).edges == ("2026-03-14T00:30:00.000Z", "2026-03-15T00:30:00.000Z")


def test_every_name_has_its_range() -> None:
    assert all(named(name, NEW_YORK, NOW).spans for name in PRESETS)
    with pytest.raises(RequestError, match="range: 'for ever' is not one of last_hour"):
        named("for ever", "UTC", NOW)


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        # Whole months have as many months before them, however long these are.
        ((date(2026, 3, 1), date(2026, 3, 31)), (date(2026, 2, 1), date(2026, 2, 28))),
        ((date(2026, 1, 1), date(2026, 2, 28)), (date(2025, 11, 1), date(2025, 12, 31))),
        # All else has as many days.
        ((date(2026, 3, 1), date(2026, 3, 30)), (date(2026, 1, 30), date(2026, 2, 28))),
        ((date(2026, 3, 2), date(2026, 3, 31)), (date(2026, 1, 31), date(2026, 3, 1))),
        ((date(2026, 3, 14), date(2026, 3, 14)), (date(2026, 3, 13), date(2026, 3, 13))),
    ],
)
def test_the_days_before(days: tuple[date, date], expected: tuple[date, date]) -> None:
    assert before(whole_days(*days, NEW_YORK)).days == expected


def test_before_instants_there_is_as_long_a_time() -> None:
    given = between("2026-03-14T10:00:00Z", "2026-03-14T16:30:00Z", "UTC")
    assert before(given).edges == ("2026-03-14T03:30:00.000Z", "2026-03-14T10:00:00.000Z")


def test_days_earlier_are_those_of_the_clock() -> None:
    assert earlier(whole_days(date(2026, 3, 8), date(2026, 3, 9), NEW_YORK), 7).days == (
        date(2026, 3, 1),
        date(2026, 3, 2),
    )
    # A day of 23 hours lies in between.
    noon = between("2026-03-08T12:00:00-04:00", "2026-03-08T13:00:00-04:00", NEW_YORK)
    assert earlier(noon, 1).edges == ("2026-03-07T12:00:00.000-05:00", "2026-03-07T13:00:00.000-05:00")


def test_there_is_nothing_before_1970() -> None:
    with pytest.raises(RequestError, match="there is no such range 7 days earlier"):
        earlier(whole_days(date(1970, 1, 7), date(1970, 1, 7), "UTC"), 7)


def edges(start: str, end: str) -> tuple[str, str]:
    return between(start, end, NEW_YORK).edges


def test_a_day_is_included_and_an_instant_is_not() -> None:
    assert edges("2026-03-08", "2026-03-08") == ("2026-03-08T00:00:00.000-05:00", "2026-03-09T00:00:00.000-04:00")
    assert edges("2026-03-08", "2026-03-09T04:00:00Z") == edges("2026-03-08", "2026-03-08")
    assert edges("2026-03-08T05:00:00Z", "2026-03-08") == edges("2026-03-08", "2026-03-08")


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        ("2026-03-02T00:00:00Z", "2026-03-02T00:00:00Z", "to: 2026-03-02T00:00:00Z does not lie after from"),
        ("2016-03-01T00:00:00Z", "2026-03-10T00:00:00Z", "from: the range from .* is over ten years"),
        ("2026-03-02T00:00:00", "2026-03-03", "from: the instant '2026-03-02T00:00:00' has no offset from UTC"),
        ("2026-03-02", "2026-13-02", "to: '2026-13-02' is neither a day"),
        ("1969-12-31", "2026-03-02", "from: the year 1969 is out of range"),
        ("2026-03-02", "2201-01-01", "to: the year 2201 is out of range"),
    ],
)
def test_what_is_no_range_is_named(start: str, end: str, message: str) -> None:
    with pytest.raises(RequestError, match=f"^{message}"):
        between(start, end, NEW_YORK)
