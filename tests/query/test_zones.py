"""Days and steps of a zone, against a clock that looks at each instant by itself."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keytrail.instants import to_instant, zone
from keytrail.query.zones import (
    DAY,
    HOUR,
    MINUTE,
    MOST_KEPT,
    Label,
    Span,
    Step,
    Steps,
    days,
    steps,
    to_moment,
)
from tests.oracle.clock import local_time
from tests.oracle.strategies import ONE_DAY, UNUSUAL_DAYS, ZONES, day_ranges, edges_of
from tests.oracle.sums import series_rows

MILLISECOND = 10**6

UNHURRIED = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])

ranges = st.sampled_from(ZONES).flatmap(
    lambda name: st.tuples(st.just(name), day_ranges(name, historic=True), st.lists(st.integers(0, 2**40), max_size=30))
)

Case = tuple[str, tuple[date, date], list[int]]


def probes(name: str, start: date, end: date, places: Iterable[int]) -> set[int]:
    """Instants in ms about the edges of a range and anywhere in and around it."""
    edges = [edge // MILLISECOND for edge in edges_of(name, start, end)]
    near = {edge + shift for edge in edges for shift in (-HOUR, -MINUTE, -1, 0, 1, MINUTE, HOUR)}
    low, high = min(edges) - DAY, max(edges) + DAY
    return near | {low + place % (high - low) for place in places}


def holds(spans: Iterable[Span], instant: int) -> int:
    return sum(span.start <= instant < span.end for span in spans)


@UNHURRIED
@given(ranges)
def test_days_are_the_instants_whose_local_date_is_theirs(case: Case) -> None:
    name, (start, end), places = case
    found = days(start, end, zone(name))
    assert all(span.start < span.end for span in found)
    assert all(before.end < after.start for before, after in pairwise(found))
    for instant in probes(name, start, end, places):
        local = local_time(instant * MILLISECOND, name).date()
        assert holds(found, instant) == (start <= local <= end), to_moment(instant, UTC)


@UNHURRIED
@given(ranges, st.sampled_from(list(Step)))
def test_steps_cover_each_instant_once_under_what_its_clock_shows(case: Case, step: Step) -> None:
    name, (start, end), places = case
    end = min(end, start + 3 * ONE_DAY) if step is Step.MINUTE else end
    spans = days(start, end, zone(name))
    cut = steps(spans, step, name)
    assert len(set(cut.labels)) == len(cut.labels)
    assert set(cut.label_of_piece) == set(range(len(cut.labels)))
    assert sum(piece.end - piece.start for piece in cut.pieces) == sum(span.end - span.start for span in spans)
    for instant in probes(name, start, end, places):
        owners = [
            cut.labels[owner]
            for piece, owner in zip(cut.pieces, cut.label_of_piece, strict=True)
            if piece.start <= instant < piece.end
        ]
        assert owners == [shown(instant, name, step)] * holds(spans, instant)


def shown(instant: int, name: str, step: Step) -> Label:
    local = local_time(instant * MILLISECOND, name)
    parts = {
        Step.MONTH: (local.year, local.month),
        Step.DAY: (local.year, local.month, local.day),
        Step.HOUR: (local.year, local.month, local.day, local.hour),
        Step.MINUTE: (local.year, local.month, local.day, local.hour, local.minute),
    }
    return Label(*parts[step])


@UNHURRIED
@given(ranges, st.sampled_from(("hour", "day", "month")))
def test_labels_are_the_steps_of_the_oracle(case: Case, res: Literal["hour", "day", "month"]) -> None:
    name, (start, end), _ = case
    cut = steps(days(start, end, zone(name)), Step(res), name)
    rows = series_rows([], res=res, org="", start=start, end=end, zone=name)
    ids = [row["id"] for row in rows]
    labels = [Label(of["year"], of["month"], of["day"], of["hour"]) for of in ids]
    assert list(cut.labels) == labels


@pytest.mark.parametrize("name", ZONES)
def test_unusual_days_have_their_length(name: str) -> None:
    """Beside another way to it: minutes counted one by one."""
    for day in UNUSUAL_DAYS[name]:
        noon = to_instant(datetime(day.year, day.month, day.day, 12, tzinfo=UTC))
        minutes = range(noon - 36 * HOUR, noon + 36 * HOUR, MINUTE)
        counted = sum(local_time(minute * MILLISECOND, name).date() == day for minute in minutes)
        found = days(day, day, zone(name))
        assert sum(span.end - span.start for span in found) == counted * MINUTE


def test_a_day_in_two_stretches() -> None:
    # At 00:01 of 7 November 2010 the clock went back to 23:01 of the 6th.
    found = days(date(2010, 11, 7), date(2010, 11, 7), zone("America/St_Johns"))
    assert [span.end - span.start for span in found] == [MINUTE, DAY]


def test_a_day_that_never_was() -> None:
    assert days(date(2011, 12, 30), date(2011, 12, 30), zone("Pacific/Apia")) == ()


@pytest.mark.parametrize("name", [name for name in ZONES if name != "UTC"])
def test_a_stretch_that_begins_just_before_a_change(name: str) -> None:
    """Wherever the search for changes begins, it finds each to the millisecond."""
    for day in UNUSUAL_DAYS[name]:
        for edge in (edge // MILLISECOND for edge in edges_of(name, day, day)):
            for before in (1, 59_999, HOUR):
                span = Span(edge - before, edge + 2 * DAY)
                cut = steps((span,), Step.MINUTE, name)
                assert cut.labels[cut.label_of_piece[0]] == shown(span.start, name, Step.MINUTE)
                (owner,) = [
                    owner
                    for piece, owner in zip(cut.pieces, cut.label_of_piece, strict=True)
                    if piece.start <= edge < piece.end
                ]
                assert cut.labels[owner] == shown(edge, name, Step.MINUTE)


def test_an_hour_that_comes_twice_is_one_step_and_a_skipped_one_none() -> None:
    def hours(day: date) -> list[int]:
        return [label.hour for label in steps(days(day, day, zone("Europe/Berlin")), Step.HOUR, "Europe/Berlin").labels]

    assert hours(date(2026, 10, 25)) == list(range(24))
    assert hours(date(2026, 3, 29)) == [0, 1, *range(3, 24)]


def test_the_ends_of_the_calendar() -> None:
    for day in (date(1970, 1, 1), date(2200, 12, 31)):
        for name in ZONES:
            assert sum(span.end - span.start for span in days(day, day, zone(name))) == DAY


@pytest.mark.parametrize("name", ["", "Nowhere/Land", "../etc/passwd", "/etc/localtime", "Europe", "UTC\0", "ü" * 300])
def test_no_such_zone(name: str) -> None:
    with pytest.raises(KeyError):
        zone(name)


def test_moment_and_instant_are_inverse() -> None:
    moment = datetime(2026, 10, 25, 0, 30, 0, 123_000, tzinfo=UTC)
    assert to_moment(to_instant(moment), zone("Europe/Berlin")).astimezone(UTC) == moment
    assert to_instant(moment + timedelta(microseconds=999)) == to_instant(moment)


def test_only_steps_of_short_ranges_are_kept_for_the_next_question() -> None:
    """Sixty questions for ten years by the hour would hold more than a gigabyte."""

    def cut(count: int) -> Steps:
        return steps((Span(0, count * HOUR),), Step.HOUR, "UTC")

    assert len(cut(MOST_KEPT).labels) == MOST_KEPT
    assert cut(MOST_KEPT) is cut(MOST_KEPT)
    longer = cut(MOST_KEPT + 1)
    assert len(longer.labels) == MOST_KEPT + 1
    assert cut(MOST_KEPT + 1) is not longer
