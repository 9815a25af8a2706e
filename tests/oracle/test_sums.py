"""What the captures do not show: two days, ties, quick errors, clocks that change; and what always holds."""

from collections import Counter
from dataclasses import replace
from datetime import date, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.oracle.clock import hours, instant_of, local_time, rfc3339, zone_info
from tests.oracle.records import ZERO_TIME, Record
from tests.oracle.strategies import UNUSUAL_DAYS, Question, questions, splits
from tests.oracle.sums import (
    Row,
    Step,
    Where,
    api_rows,
    client_rows,
    endpoint_rows,
    error_code_rows,
    key_rows,
    ordered,
    pages,
    selected,
    series_rows,
    summed,
)

# A hundred days of hours, and up to sixty records, take their time on a busy machine.
UNHURRIED = settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
RESOLUTIONS: tuple[Step, ...] = ("hour", "day", "month")


def at(text: str) -> int:
    """ns of an ISO 8601 text."""
    return instant_of(datetime.fromisoformat(text))


def hit(code: int = 200, latency: int = 0, time: str = "2026-01-01T00:00:00Z", **fields: object) -> Record:
    record = Record(response_code=code, latency_total=latency, latency_upstream=latency, timestamp=at(time))
    return replace(record, **fields)  # type: ignore[arg-type]


def test_minimum_leaves_errors_out_unless_there_is_nothing_else() -> None:
    assert summed([hit(500, 1), hit(200, 7), hit(301, 5)], "UTC")["min_latency"] == 5
    assert summed([hit(500, 1), hit(404, 7)], "UTC")["min_latency"] == 1
    assert summed([hit(500, 9), hit(200, 7)], "UTC")["max_latency"] == 9


def test_hits_are_more_than_successes_and_errors() -> None:
    row = summed([hit(100), hit(200), hit(299), hit(304), hit(399), hit(400)], "UTC")
    assert (row["hits"], row["success"], row["error"]) == (6, 2, 1)


def test_no_hit() -> None:
    row = summed([], "Asia/Kathmandu")
    assert row["last_hit"] == "0001-01-01T00:00:00Z"
    assert {row[name] for name in row if name not in ("id", "last_hit")} == {0}


def test_ties_in_order() -> None:
    late = "2026-01-01T00:00:00.002+00:00"
    rows = [
        summed([hit()], "UTC", path="/b", api_id="1"),
        summed([hit(latency=3, time=late)], "UTC", path="/c", api_id="1"),
        summed([hit()], "UTC", path="/a", api_id="2"),
        summed([hit()], "UTC", path="/a", api_id="1"),
        summed([hit(), hit()], "UTC", path="/z", api_id="1"),
    ]

    def names(in_order: list[Row]) -> list[str]:
        return [row["id"]["path"] + row["id"]["api_id"] for row in in_order]

    assert names(ordered(rows)) == ["/z1", "/c1", "/a1", "/a2", "/b1"]
    assert names(ordered(rows, sort=-1)) == ["/c1", "/a1", "/a2", "/b1", "/z1"]
    assert names(ordered(rows, by="MaxLatency")) == ["/c1", "/a1", "/a2", "/b1", "/z1"]


def test_later_is_later_where_clocks_go_back() -> None:
    first = summed([hit(time="2026-10-25T00:30:00+00:00")], "Europe/Berlin", path="/first")
    second = summed([hit(time="2026-10-25T01:10:00+00:00")], "Europe/Berlin", path="/second")
    assert first["last_hit"] > second["last_hit"]
    assert ordered([first, second]) == [second, first]


def test_last_hit_is_cut_to_ms_and_short() -> None:
    instant = at("2026-07-01T00:00:00+00:00")
    for part, text in ((999_999, ""), (1_999_999, ".001"), (580_000_000, ".58"), (999_999_999, ".999")):
        row = summed([replace(hit(), timestamp=instant + part)], "Asia/Kolkata")
        assert row["last_hit"] == f"2026-07-01T05:30:00{text}+05:30"
    assert rfc3339(instant, "America/St_Johns") == "2026-06-30T21:30:00-02:30"
    assert rfc3339(at("2026-03-01T00:00:00+00:00"), "Africa/Casablanca") == "2026-03-01T00:00:00Z"
    assert rfc3339(ZERO_TIME, "UTC") == "0001-01-01T00:00:00Z"


def test_day_is_local_and_to_its_last_ms() -> None:
    start = at("2026-03-29T00:00:00+01:00")
    end = at("2026-03-30T00:00:00+02:00")
    inside = [replace(hit(), timestamp=instant) for instant in (start, end - 1)]
    outside = [replace(hit(), timestamp=instant) for instant in (start - 1, end)]
    day = date(2026, 3, 29)
    assert selected(inside + outside, org="", start=day, end=day, zone="Europe/Berlin") == inside


def test_versions_and_tags() -> None:
    where = Where(org="", start=date(2026, 1, 1), end=date(2026, 1, 1), zone="UTC")
    both = [hit(api_version="Non Versioned", tags=("a", "b")), hit(api_version="Not Versioned", tags=("a",))]
    all_of_them = [*both, hit(api_version="")]
    assert selected(all_of_them, **(where | {"api_version": "Not Versioned"})) == both
    assert selected(all_of_them, **(where | {"api_version": "Non Versioned"})) == both
    assert selected(all_of_them, **(where | {"tags": ("a", "b")})) == both[:1]


@pytest.mark.parametrize(
    ("zone", "day", "expected"),
    [
        ("UTC", date(2026, 1, 1), range(24)),
        ("Europe/Berlin", date(2026, 3, 29), [0, 1, *range(3, 24)]),
        ("Europe/Berlin", date(2026, 10, 25), range(24)),
        # The hour loses its first half, or comes one and a half times.
        ("Australia/Lord_Howe", date(2025, 10, 5), range(24)),
        ("Australia/Lord_Howe", date(2026, 4, 5), range(24)),
        # One minute of the hour is left.
        ("America/St_Johns", date(2010, 3, 14), range(24)),
        ("Antarctica/Casey", date(2020, 10, 4), [0, *range(3, 24)]),
        ("America/Sao_Paulo", date(2018, 11, 4), range(1, 24)),
        ("Pacific/Apia", date(2011, 12, 30), []),
    ],
)
def test_hours_of_a_day(zone: str, day: date, expected: list[int]) -> None:
    assert list(hours(day, day, zone)) == [(day, hour) for hour in expected]


def test_hours_are_those_of_all_minutes() -> None:
    for zone, unusual in UNUSUAL_DAYS.items():
        for day in unusual:
            noon = instant_of(datetime.combine(day, datetime.min.time(), zone_info("UTC")))
            minutes = (local_time(noon + n * 60 * 10**9, zone) for n in range(-1440, 2880))
            seen = {local.hour for local in minutes if local.date() == day}
            assert [hour for _, hour in hours(day, day, zone)] == sorted(seen), (zone, day)


def test_a_day_may_be_in_two_pieces() -> None:
    """At 00:01 on 7 November 2010 it was 23:01 on the 6th again."""
    zone, day = "America/St_Johns", date(2010, 11, 7)
    midnight = at("2010-11-07T00:00:00-02:30")
    minutes = [local_time(midnight + n * 60 * 10**9, zone).date() for n in range(61)]
    assert minutes == [day, *[date(2010, 11, 6)] * 59, day]
    records = [hit(timestamp=midnight + n * 60 * 10**9) for n in range(61)]
    where = Where(org="", start=day, end=day, zone=zone)
    assert selected(records, **where) == [records[0], records[60]]
    assert [row["hits"] for row in series_rows(records, res="hour", **where)] == [2, *[0] * 23]


def test_steps_carry_their_dates() -> None:
    where = Where(org="", start=date(2011, 12, 29), end=date(2012, 1, 1), zone="Pacific/Apia")

    def steps(res: Step) -> list[tuple[int, ...]]:
        ids = [row["id"] for row in series_rows([], res=res, **where)]
        return [(of["year"], of["month"], of["day"], of["hour"]) for of in ids]

    assert steps("day") == [(2011, 12, 29, 0), (2011, 12, 31, 0), (2012, 1, 1, 0)]
    assert steps("month") == [(2011, 12, 0, 0), (2012, 1, 0, 0)]
    assert steps("hour")[23:25] == [(2011, 12, 29, 23), (2011, 12, 31, 0)]


def test_pages() -> None:
    rows = [{"n": n} for n in range(11)]
    assert pages([], 1) == ([], 0)
    assert pages(rows, 2) == ([{"n": 10}], 2)
    assert pages(rows[:10], 1) == (rows[:10], 1)
    assert pages(rows, 3) == ([], 2)
    assert pages(rows, 0) == pages(rows, -1) == (rows, 0)


@UNHURRIED
@given(questions())
def test_all_ways_to_count_agree(question: Question) -> None:
    where, found = _where(question), question.records
    total = len(selected(found, **where))
    for rows in (endpoint_rows, api_rows, key_rows):
        assert sum(row["hits"] for row in rows(found, **where)) == total
    for res in RESOLUTIONS:
        assert sum(row["hits"] for row in series_rows(found, res=res, **where)) == total
    errors = sum(row["error"] for row in api_rows(found, **where))
    assert sum(row["hits"] for row in error_code_rows(found, **where)) == errors
    assert sum(row["hits"] for row in client_rows(found, **where)) <= total


@UNHURRIED
@given(questions(), st.data())
def test_order_of_arrival_does_not_matter(question: Question, data: st.DataObject) -> None:
    where, found = _where(question), question.records
    arrived = [record for batch in data.draw(splits(found)) for record in batch]
    for rows in (endpoint_rows, api_rows, key_rows, client_rows, error_code_rows):
        assert rows(arrived, **where) == rows(found, **where)


@UNHURRIED
@given(questions(historic=True))
def test_a_day_has_the_hits_of_its_hours(question: Question) -> None:
    where, found = _where(question), question.records
    by_day = Counter[tuple[int, ...]]()
    for row in series_rows(found, res="hour", **where):
        by_day[row["id"]["year"], row["id"]["month"], row["id"]["day"]] += row["hits"]
    days = {
        (row["id"]["year"], row["id"]["month"], row["id"]["day"]): row["hits"]
        for row in series_rows(found, res="day", **where)
    }
    assert by_day == Counter(days)
    assert list(by_day) == list(days)


def _where(question: Question) -> Where:
    return Where(org=question.org, start=question.start, end=question.end, zone=question.zone)
